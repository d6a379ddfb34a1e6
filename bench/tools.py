"""Two hundred requests with server tools at once over eight slots, beside paced streams of somebody else:
`python -m bench.tools [search fetch mcp code]`.

Each request calls a tool once and then answers; a search takes half a second. The paced streams come from a model of
their own, so their gaps show whether the worker that both share is held up. What the requests take together shows
whether slots are held while tools run: `needed` is the time of the engine alone, `held` what it would be if they were.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench import servers
from tests.server_tools.mcp import servers as mcp_servers
from tests.server_tools.serving import FETCH, SEARCH, call
from tests.server_tools.web.sites import ARTICLE, found, listening, page

REQUESTS, SLOTS, PIECES, PACE = 200, 8, 10, 0.02
SEARCHED = 0.5
"""Seconds that a search takes."""
GAP = 0.040
CODE = {"type": "code_execution_20250522", "name": "code_execution"}


def script(site: str) -> dict[str, Any]:
    """A model that calls the one tool it has, and answers in so many pieces at this pace."""
    calls = {
        "Search": call("web_search", query="bees"),
        "Fetch": call("web_fetch", url=f"{site}/bees.html"),
        "Add": call("add", a=2, b=3),
        "Run": call("code_execution", code="print(6 * 7)"),
    }
    answer = {"when": "</tool_response>", "text": "word " * PIECES, "delay": PACE}
    rules = [{"when": f"{word} now", "text": "word " * PIECES + text, "delay": PACE} for word, text in calls.items()]
    return {"slots": SLOTS, "rules": [answer, *rules]}


def body(kind: str, number: int, site: str, mcp: str) -> dict[str, Any]:
    """A request that has this tool called."""
    asked: dict[str, Any] = {"model": "tools", "max_tokens": 500, "stream": True}
    match kind:
        case "search":
            text, tools = "Search now", [SEARCH]
        case "fetch":
            text, tools = f"Fetch now {site}/bees.html", [{**FETCH, "use_cache": False}]
        case "mcp":
            text, tools = "Add now", [{"type": "mcp_toolset", "mcp_server_name": "things"}]
            asked["mcp_servers"] = [{"type": "url", "name": "things", "url": mcp}]
        case _:
            text, tools = "Run now", [CODE]
    return {**asked, "messages": [{"role": "user", "content": f"{text}, number {number}"}], "tools": tools}


async def searched(request: web.Request) -> web.StreamResponse:
    """A search engine that takes its time."""
    await asyncio.sleep(SEARCHED)
    return web.json_response({"results": [found("On bees", "https://bees.example/on", "Bees fly.")]})


async def outside(stack: AsyncExitStack) -> tuple[str, str]:
    """The addresses of a site, which is a search engine too, and of an MCP server."""
    routes = web.get("/search", searched), web.get("/bees.html", page(ARTICLE.encode()))
    site = await stack.enter_async_context(listening(*routes))
    # The MCP server tells of each request.
    logging.disable(logging.INFO)
    return site, await stack.enter_async_context(mcp_servers.listening())


def settings(site: str, models: dict[str, str]) -> str:
    """The configuration of a server with all tools, whose default model is called `tools`."""
    lines = [f'web_search = "searxng+{site}"', "web_fetch = true", "mcp_connector = true", "code_execution = true"]
    lines += ["allow_private_urls = true", "max_queue = 1000", 'default_model = "tools"']
    return "\n".join([*lines, *(f'[models.{name}]\nmodel = "{model}"' for name, model in models.items())])


async def answered(client: aiohttp.ClientSession, url: str, asked: dict[str, Any]) -> str:
    """Why a request was not answered as it should; empty: it was."""
    async with client.post(url + "/v1/messages", json=asked, headers={"anthropic-version": "2023-06-01"}) as response:
        text = await response.text()
    whole = (
        "message_stop" in text
        and "tool_result" in text
        and '"error_code"' not in text
        and '"is_error":true' not in text
    )
    return "" if whole else f"{response.status}: {text[-500:]}"


async def window(url: str) -> float:
    """The p99 of the seconds between the tokens of four paced streams, over some seconds."""
    asked = {"model": "paced", "stream": True, "max_tokens": 1000, "messages": [{"role": "user", "content": "hi"}]}
    command = [sys.executable, "-m", "bench.load", url + "/v1/messages", json.dumps(asked)]
    process = await asyncio.create_subprocess_exec(
        *command, "--streams", "4", "--seconds", "4", stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return float(json.loads(told)["gap_p99"])


async def gaps(url: str, over: asyncio.Event) -> list[float]:
    """Window after window, until it is over."""
    windows = []
    while not over.is_set():
        windows.append(await window(url))
    return windows


async def main(kinds: list[str]) -> int:
    """Start all of it, ask, tell."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as place, servers.upstream(folder := Path(place)) as clock:
        async with AsyncExitStack() as stack:
            site, mcp = await outside(stack)
            (folder / "script.json").write_text(json.dumps(script(site)))
            config = folder / "antiphon.toml"
            models = {"tools": f"scripted+{folder / 'script.json'}", "paced": f"llama.cpp+{clock.url}"}
            config.write_text(settings(site, models))
            server = await asyncio.to_thread(
                lambda: stack.enter_context(servers.antiphon(folder, "", "--config", str(config)))
            )
            for kind in kinds:
                wrong += await _trial(server.url, kind, site, mcp)
    print("\n".join(wrong))
    return 1 if wrong else 0


async def _trial(url: str, kind: str, site: str, mcp: str) -> list[str]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        began = time.perf_counter()
        first = await answered(client, url, body(kind, 0, site, mcp))
        one = time.perf_counter() - began
        alone = await window(url)
        over = asyncio.Event()
        beside = asyncio.ensure_future(gaps(url, over))
        await asyncio.sleep(2)
        began = time.perf_counter()
        asked = (body(kind, number, site, mcp) for number in range(1, REQUESTS + 1))
        replies = await asyncio.gather(*(answered(client, url, each) for each in asked))
        seconds = time.perf_counter() - began
        over.set()
        gap = max(await beside)
    needed, held = REQUESTS * 2 * PIECES * PACE / SLOTS, REQUESTS * one / SLOTS
    print(
        f"{kind}: {REQUESTS} requests over {SLOTS} slots in {seconds:.1f} s (needed {needed:.1f} s, held {held:.1f} s),"
        f" p99 between the others' tokens {gap * 1e3:.0f} ms, alone {alone * 1e3:.0f} ms",
        flush=True,
    )
    wrong = [f"{kind}: {reply}" for reply in (first, *replies) if reply][:5]
    return wrong + ([f"{kind}: a p99 of {gap * 1e3:.0f} ms between the others' tokens"] if gap > GAP else [])


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:] or ["search", "fetch", "mcp", "code"])))
