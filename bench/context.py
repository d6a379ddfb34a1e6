"""An agent of many turns in a small window, with each kind of edit: what is computed of its prompts.

    python -m bench.context [--turns 200] [--result 2000] [--window 16384] [--real] [ROW ...]

The engine is the scripted one, or with --real the embedded one with the default model, which is held to a call each
turn; the requests are those of the Messages API, over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean, median
from typing import Any

import aiohttp

from antiphon import surfaces
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from tests.end_to_end.conftest import serving
from tests.loopback import listening

CALL = '<think>\nOn.\n</think>\n\n<tool_call>\n{"name": "read", "arguments": {"path": "a"}}\n</tool_call>'
RULES = (Rule(when="about to be replaced by a summary", text="Much was read. " * 50), Rule(text=CALL))
TOOL = {"name": "read", "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}}}
USES = {"type": "clear_tool_uses_20250919"}
THINKING = {"type": "clear_thinking_20251015"}
COMPACT = {"type": "compact_20260112"}
AT_LEAST = {"clear_at_least": {"type": "input_tokens", "value": 3000}, "keep": {"type": "tool_uses", "value": 1}}
KINDS: dict[str, list[Any] | None] = {
    "`clear_tool_uses`": [USES],
    "`clear_tool_uses`, `keep` 1, `clear_at_least` 3,000": [USES | AT_LEAST],
    "`clear_thinking`, `clear_tool_uses`": [THINKING, USES],
    "`clear_tool_uses`, `compact`": [USES, COMPACT],
    "`compact`": [COMPACT],
    "nothing asked, `--context-management clear-tool-results`": None,
}


@asynccontextmanager
async def scripted(window: int, edits: list[Any] | None) -> AsyncIterator[str]:
    """The address of a server whose engine follows the rules."""
    model = await load(Scripted(Script(rules=RULES, window=window)), Choices())
    service = Service([model], clears_tool_results=edits is None)
    async with listening(surfaces.build(service, surfaces.Options(seal_key=b"bench"))) as url:
        yield url


@asynccontextmanager
async def real(window: int, edits: list[Any] | None) -> AsyncIterator[str]:
    """The address of a server with the default model."""
    more = ["--context-management", "clear-tool-results"] if edits is None else []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder), "--context-length", str(window), "--parallel", "1", *more) as server,
    ):
        yield server.url


async def agent(url: str, edits: list[Any] | None, turns: int, words: int, *, forced: bool) -> list[tuple[int, int]]:
    """The tokens of each prompt, and those that were computed of it and of the summary before it. Ends at an error."""
    messages: list[Any] = [{"role": "user", "content": "Read everything."}]
    body: dict[str, Any] = {"model": "claude", "max_tokens": 200, "tools": [TOOL], "messages": messages}
    if forced:
        body["tool_choice"] = {"type": "tool", "name": "read", "disable_parallel_tool_use": True}
    if edits is not None:
        body["context_management"] = {"edits": edits}
    figures: list[tuple[int, int]] = []
    async with aiohttp.ClientSession(headers={"anthropic-version": "2023-06-01"}) as client:
        for turn in range(turns):
            async with client.post(f"{url}/v1/messages", json=body) as response:
                reply = await response.json()
            if response.status != 200:
                print(f"turn {turn}: {reply['error']['message']}")
                break
            usage = reply["usage"]
            spent = usage.get("iterations") or [usage]
            computed = sum(each["input_tokens"] + each["cache_creation_input_tokens"] for each in spent)
            figures.append((usage["input_tokens"] + usage["cache_read_input_tokens"], computed))
            call = next(block for block in reply["content"] if block["type"] == "tool_use")
            result = {"type": "tool_result", "tool_use_id": call["id"], "content": f"{turn} " * words}
            messages += [{"role": "assistant", "content": reply["content"]}, {"role": "user", "content": [result]}]
    return figures


async def measure(turns: int, result: int, window: int, rows: list[int], *, real_engine: bool) -> None:
    """Print a row for each kind of edit."""
    print("| edits | turns | longest prompt | computed a turn: median | mean | most |\n|---|---|---|---|---|---|")
    kinds = list(KINDS.items())
    for name, edits in [kinds[row] for row in rows] or kinds:
        async with (real if real_engine else scripted)(window, edits) as url:
            # A word and the space behind it are two tokens of the scripted engine; so is a number to the default model.
            figures = await agent(url, edits, turns, result // 2, forced=real_engine)
        prompts, computed = zip(*figures, strict=True)
        row = (len(figures), max(prompts), median(computed), mean(computed), max(computed))
        print(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--result", type=int, default=2000, help="tokens of each tool result")
    parser.add_argument("--window", type=int, default=16384)
    parser.add_argument("--real", action="store_true", help="the default model in the embedded engine")
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="which rows of the table, from 0; none: all")
    given = parser.parse_args()
    asyncio.run(measure(given.turns, given.result, given.window, given.rows, real_engine=given.real))
