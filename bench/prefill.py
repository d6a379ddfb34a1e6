"""How long a long prompt is read, beside llama.cpp's own server with its own defaults: `python -m bench.prefill`.

Each prompt is new to both. Alone and beside a process that keeps a core busy, one client and four. And how long a reply
pauses that is being written meanwhile: `python -m bench.prefill pauses`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from antiphon.engines.models import model_store
from antiphon.settings.sources import Settings
from bench import servers
from bench.measuring import Row
from tests.end_to_end.conftest import free_port

WINDOW, SLOTS = 8192, 4
LENGTHS = (500, 4000, 7500)
BESIDE = 4000
"""Tokens of the prompt that is read while a reply is being written."""
ROUNDS = 3
WRITING = 4.0
"""Seconds for which a reply is being written before the prompt comes."""
HEADERS = {"anthropic-version": "2023-06-01"}
WORDS = [" sea", " light", " house", " rope", " wind", " north", " ship", " night", " door", " hand"]
"""Each is a token of the default model's."""


@contextlib.contextmanager
def own(folder: Path, model: Path, *more: str) -> Iterator[str]:
    """llama.cpp's own server."""
    port = free_port()
    command = [sys.executable, "-m", "bench.own", str(model), str(port), str(WINDOW), str(SLOTS), *more]
    with (folder / "own.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    with process:
        assert process.stdout
        if not process.stdout.readline():
            raise RuntimeError((folder / "own.log").read_text())
        yield f"http://127.0.0.1:{port}"
        process.communicate()


@contextlib.contextmanager
def neighbour(there: bool) -> Iterator[None]:
    """A process that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if there else None
    try:
        yield
    finally:
        if process:
            process.kill()
            process.wait()


def prompt(tokens: int, rng: random.Random) -> str:
    """A text of about so many tokens that no prompt before it began with."""
    return "".join(rng.choice(WORDS) for _ in range(tokens))


async def first_token(url: str, prompts: list[str]) -> float:
    """The median time to the first token of requests that are sent together."""

    async def one(client: aiohttp.ClientSession, text: str) -> float:
        asked = {"model": "default", "stream": True, "max_tokens": 2, "messages": [{"role": "user", "content": text}]}
        began = time.perf_counter()
        async with client.post(f"{url}/v1/messages", json=asked, headers=HEADERS) as response:
            async for line in response.content:
                if b"content_block_delta" in line or b"message_delta" in line:
                    return time.perf_counter() - began
        raise RuntimeError("no token came")

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as client:
        return statistics.median(await asyncio.gather(*(one(client, text) for text in prompts)))


async def longest_pause(url: str, rng: random.Random) -> float:
    """The longest pause between tokens of a reply while a prompt of `BESIDE` tokens is read, in seconds."""
    while True:
        pauses: list[float] = []
        writing = asyncio.ensure_future(_write(url, prompt(30, rng), pauses))
        await asyncio.sleep(WRITING)
        await first_token(url, [prompt(BESIDE, rng)])
        # A model may have come to its end too early.
        if not writing.done():
            writing.cancel()
            return max(pauses)


async def _write(url: str, text: str, pauses: list[float]) -> None:
    asked = {"model": "default", "stream": True, "max_tokens": 4000}
    asked["messages"] = [{"role": "user", "content": f"Tell me a very long story of{text}."}]
    session, last = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)), 0.0
    async with session as client, client.post(f"{url}/v1/messages", json=asked, headers=HEADERS) as response:
        async for line in response.content:
            if b"content_block_delta" in line:
                now = time.perf_counter()
                pauses.append(now - last if last else 0.0)
                last = now


@contextlib.contextmanager
def _both(folder: Path) -> Iterator[tuple[str, str]]:
    """This server and llama.cpp's own, with the same window and slots."""
    model = model_store.resolve("", Path(Settings().cache_dir))
    settings = ("--context-length", str(WINDOW), "--parallel", str(SLOTS))
    with own(folder, model) as theirs, servers.antiphon(folder, "", *settings) as ours:
        yield ours.url, theirs


def measured(folder: Path, lengths: tuple[int, ...] = LENGTHS, rounds: int = ROUNDS) -> list[Row]:
    """The rows of all lengths, and that of the pauses."""
    rng, rows = random.Random(17), list[Row]()
    with _both(folder) as (ours, theirs):
        for busy in (False, True):
            for clients in (1, SLOTS):
                for length in lengths:
                    with neighbour(busy):
                        ratio = _ratio(ours, theirs, length, clients, rounds, rng)
                    what = f"{length} tokens, {clients} client{'s' * (clients > 1)}" + ", a core busy" * busy
                    rows.append(Row(f"time to the first token: {what}", f"{ratio:.2f}×", "≤ 1.02×", ratio <= 1.02))
                    print(rows[-1].what, rows[-1].figure, flush=True)
        return [*rows, _pauses((ours, theirs), rounds)]


def _pauses(both: tuple[str, str], rounds: int = ROUNDS) -> Row:
    rng = random.Random(5)
    ours, theirs = (statistics.median(asyncio.run(longest_pause(url, rng)) for _ in range(rounds)) for url in both)
    what = f"longest pause of a reply while a prompt of {BESIDE} tokens is read"
    row = Row(what, f"{ours:.1f} s, llama.cpp's own {theirs:.1f} s", "≤ 1×", ours <= theirs)
    print(row.what, row.figure, flush=True)
    return row


def _ratio(ours: str, theirs: str, length: int, clients: int, rounds: int, rng: random.Random) -> float:
    ratios = []
    for number in range(rounds):
        # Who comes first in a round may find another machine than who comes second.
        both = [(ours, 0), (theirs, 1)][:: 1 - 2 * (number % 2)]
        took = [0.0, 0.0]
        for url, at in both:
            took[at] = asyncio.run(first_token(url, [prompt(length, rng) for _ in range(clients)]))
        ratios.append(took[0] / took[1])
    return statistics.median(ratios)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        if sys.argv[1:] == ["pauses"]:
            with _both(Path(place)) as both:
                _pauses(both)
        else:
            measured(Path(place), tuple(map(int, sys.argv[1:])) or LENGTHS)
