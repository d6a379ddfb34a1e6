"""What drafting from the conversation gains: `python -m bench.speculation [--rounds 3] [--kinds off ngram own]`.

A coding assistant reads a file, edits it in two places and writes it anew; then a story is told. The input of each call
is forced by a schema that has it as its only value, and which is in no prompt: every server writes the same text, which
its own model would not. Each kind is a server of its own, and they are asked in turns; `own` is llama.cpp's own server
with its defaults, given the same ids. The story is greedy, and must be the same with drafts and without.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from antiphon.constraint import Json, lark
from antiphon.constraint.schema import lower
from antiphon.engines.models import model_store
from antiphon.settings.sources import Settings
from bench import servers
from bench.measuring import Row
from bench.prefill import HEADERS, own

WINDOW, SLOTS = 8192, 4
FILE = Path(__file__).parents[1] / "src" / "antiphon" / "api" / "errors.py"
OLD, NEW = "BadRequest", "InvalidRequest"
MOST, STORY_TOKENS = 2048, 256
TOOLS = [
    {"name": name, "description": f"{name}s a file.", "input_schema": {"type": "object"}}
    for name in ("Read", "Edit", "Write")
]
STORY = "Tell a long story of a lighthouse keeper."


class Turn(NamedTuple):
    """What is decoded in reply to a request: the tokens, the seconds from the first to the last, and the text."""

    tokens: int
    seconds: float
    text: str

    @property
    def speed(self) -> float:
        """Tokens a second."""
        return self.tokens / max(self.seconds, 1e-9)


def session(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The calls of an assistant that renames a class, `(tool, input)`, in their order."""
    path = f"/home/me/project/{FILE.name}"
    lines = text.splitlines(keepends=True)
    places = [at for at, line in enumerate(lines) if OLD in line]
    calls: list[tuple[str, dict[str, Any]]] = [("Read", {"file_path": path})]
    for at in (places[0], places[-1]):
        block = "".join(lines[max(at - 4, 0) : at + 6])
        calls.append(("Edit", {"file_path": path, "old_string": block, "new_string": block.replace(OLD, NEW)}))
    return [*calls, ("Write", {"file_path": path, "content": text.replace(OLD, NEW)})]


def requests(text: str) -> list[dict[str, Any]]:
    """The bodies of a session's requests; the last asks for prose."""
    numbered = "".join(f"{number:6d}\t{line}\n" for number, line in enumerate(text.splitlines(), 1))
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"Rename {OLD} to {NEW} in {FILE.name}."}]
    common = {"tools": TOOLS, "tool_choice": {"type": "none"}, "max_tokens": MOST}
    asked = []
    for at, (name, given) in enumerate(session(text)):
        output = {"format": {"type": "json_schema", "schema": {"const": given}}}
        asked.append({"messages": list(messages), "output_config": output, **common})
        call = {"type": "tool_use", "id": f"toolu_{at:02d}", "name": name, "input": given}
        told = numbered if name == "Read" else "The file has been updated."
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": told}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return [*asked, {"messages": [{"role": "user", "content": STORY}], "max_tokens": STORY_TOKENS}]


class Client:
    """Asks a server of this project, or llama.cpp's own if there is another one to `render` its prompts."""

    def __init__(self, url: str, render: str = "") -> None:
        self._url = url
        self._render = render

    async def session(self, bodies: list[dict[str, Any]]) -> list[Turn]:
        """The replies, one after the other."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as client:
            return [await self._turn(client, body) for body in bodies]

    async def together(self, streams: int, tokens: int) -> float:
        """Tokens a second of so many stories at once."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as client:
            asked = [{"role": "user", "content": f"{STORY} Number {at}."} for at in range(streams)]
            began = time.perf_counter()
            turns = [self._turn(client, {"messages": [each], "max_tokens": tokens}) for each in asked]
            return sum(each.tokens for each in await asyncio.gather(*turns)) / (time.perf_counter() - began)

    async def _turn(self, client: aiohttp.ClientSession, body: dict[str, Any]) -> Turn:
        asked = {"model": "default", "stream": True, "temperature": 0, **body}
        path = "/v1/messages"
        if self._render:
            async with client.post(f"{self._render}{path}/render", json=asked, headers=HEADERS) as response:
                path, asked = "/completion", _raw(asked, (await response.json())["ids"])
        first = last = 0.0
        tokens, text = 0, ""
        async with client.post(self._url + path, json=asked, headers=HEADERS) as response:
            response.raise_for_status()
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                event = msgspec.json.decode(line[6:])
                more = event.get("content") or event.get("delta", {}).get("text") or ""
                if more:
                    last = time.perf_counter()
                    first = first or last
                text += more
                tokens = event.get("tokens_predicted") or event.get("usage", {}).get("output_tokens") or tokens
        return Turn(tokens, last - first, text)


def _raw(body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    """The same for llama.cpp's completion route, with this project's grammar: of its own, a long text breaks off."""
    raw = {"prompt": ids, "n_predict": body["max_tokens"], "temperature": 0, "stream": True}
    if "output_config" not in body:
        return raw
    held = lower(body["output_config"]["format"]["schema"], "llguidance").schema
    return {**raw, "grammar": lark.lower(Json(held), lambda text: None)}


def speeds(turns: list[Turn]) -> tuple[float, float]:
    """Tokens a second of the calls, and of the prose."""
    calls = turns[:-1]
    return sum(each.tokens for each in calls) / sum(each.seconds for each in calls), turns[-1].speed


def measured(folder: Path, kinds: list[str], rounds: int, streams: list[int]) -> list[Row]:
    """The rows of all kinds, each against the first."""
    bodies = requests(FILE.read_text("utf-8"))
    rows = []
    with contextlib.ExitStack() as stack:
        urls = {kind: stack.enter_context(server(folder, kind)) for kind in kinds}
        clients = {kind: Client(url, urls[kinds[0]] if kind == "own" else "") for kind, url in urls.items()}
        found: dict[str, list[list[Turn]]] = {kind: [] for kind in kinds}
        several: dict[tuple[str, int], list[float]] = {(kind, many): [] for kind in kinds for many in streams}
        for number in range(rounds):
            for kind in kinds[:: 1 - 2 * (number % 2)]:
                found[kind].append(asyncio.run(clients[kind].session(bodies)))
                for many in streams:
                    several[kind, many].append(asyncio.run(clients[kind].together(many, 128)))
    for kind in kinds[1:]:
        for what, at, target in (("calls of a coding session", 0, 1.5), ("prose", 1, 0.97)):
            these, first = ([speeds(turns)[at] for turns in found[each]] for each in (kind, kinds[0]))
            rows.append(_compared(f"{what}: {kind} of {kinds[0]}", these, first, target))
        for many in streams:
            named = f"{many} stories: {kind} of {kinds[0]}"
            rows.append(_compared(named, several[kind, many], several[kinds[0], many], 0.97))
        same = [one.text == other.text for one, other in zip(found[kind][0], found[kinds[0]][0], strict=True)]
        rows.append(Row(f"the same text, {kind} and {kinds[0]}", f"{sum(same)} of {len(same)}"))
    for kind in kinds:
        print(kind, [f"{each.tokens} at {each.speed:.0f}/s" for each in found[kind][-1]], flush=True)
    for row in rows:
        print(row.told, flush=True)
    return rows


def _compared(what: str, speeds: list[float], others: list[float], target: float) -> Row:
    ratio = statistics.median(one / other for one, other in zip(speeds, others, strict=True))
    return Row(f"tokens a second, {what}", f"{ratio:.2f}×", f"≥ {target}×", ratio >= target)


@contextlib.contextmanager
def server(folder: Path, kind: str) -> Iterator[str]:
    """This server, speculating so; or llama.cpp's own."""
    if kind == "own":
        with own(folder, model_store.resolve("", Path(Settings().cache_dir))) as url:
            yield url
        return
    place = folder / kind
    place.mkdir()
    settings = ("--context-length", str(WINDOW), "--parallel", str(SLOTS), "--speculate", kind)
    with servers.antiphon(place, "", *settings) as ours:
        yield ours.url


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["off", "ngram", "own"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, nargs="*", default=[4])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        measured(Path(place), options.kinds, options.rounds, options.streams)
