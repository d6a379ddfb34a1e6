"""Very many requests and disconnects on the scripted engine; then whether anything has grown.

    python -m bench.flat [--warm-up 20000] [--requests 10000] [--disconnects 1000] [--clients 32]

First so many requests that every bounded memory of the worker is full, and its memory, descriptors and threads are
read; then the requests and disconnects that count, and they are read again. Clients stream, ask for whole replies and
count tokens; those that leave do so in line, in prefill and in decode.
The exit status is 1 when something has grown, a slot is still held, or an answer is not what it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from bench.reckoning import still_held, told
from tests.end_to_end.conftest import Server, serving
from tests.faults import processes
from tests.faults.asking import HEADERS, ask, body, leave

SCRIPT = {
    "slots": 16,
    "rules": [
        {"when": "prefill", "text": "late", "first_delay": 5},
        {"when": "decode", "text": "word " * 50, "delay": 0.01},
        {"text": "Hello from the script, in several tokens."},
    ],
}
GROWTH = 4 * 2**20
"""Bytes that the allocator may still take after the warm-up."""


class Crowd:
    """What the clients do; `seen` counts what came of it by kind, `wrong` holds what should not have come."""

    def __init__(self, server: Server, seed: int) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._url = server.url
        self._rng = random.Random(seed)

    async def request(self, client: aiohttp.ClientSession) -> None:
        """One request that is waited for. Its words are old and its text is new, so that memories of prompts fill."""
        numbers = " ".join(str(self._rng.randrange(5000)) for _ in range(4))
        text = f"Say something about the numbers {numbers}. " * self._rng.choice((1, 1, 1, 20))
        kind = self._rng.choice(("stream", "stream", "whole", "count"))
        if kind == "count":
            path = self._url + "/v1/messages/count_tokens"
            async with client.post(path, json=body(text), headers=HEADERS) as response:
                status, raw = response.status, await response.read()
        else:
            status, raw = await ask(client, self._url, text, stream=kind == "stream", max_tokens=50)
        self.seen[f"{kind} {status}"] += 1
        if status != 200 or (kind == "stream" and raw.count(b"event: message_stop\n") != 1):
            self.wrong.append(f"{kind}: {status} …{raw[-200:]!r}")

    async def disconnect(self, client: aiohttp.ClientSession) -> None:
        """One request that is left at a random moment."""
        text = self._rng.choice(("prefill", "decode"))
        done = await leave(self._url, text, self._rng, 0.6, stream=self._rng.random() < 0.5)
        self.seen["disconnect: " + done] += 1


async def spread(many: int, clients: int, one: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    """Do one thing so many times, by so many clients at once."""
    left = iter(range(many))

    async def each(client: aiohttp.ClientSession) -> None:
        for _ in left:
            await one(client)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(each(client) for _ in range(clients)))


async def run(server: Server, arguments: argparse.Namespace) -> int:
    """Warm-up, then what counts; gives the exit status."""
    (worker,) = processes.workers(server.process.pid)
    crowd, readings = Crowd(server, arguments.seed), []
    async with aiohttp.ClientSession() as client:
        for requests, disconnects in ((arguments.warm_up, 100), (arguments.requests, arguments.disconnects)):
            crowd.seen.clear()
            await asyncio.gather(
                spread(requests, arguments.clients, crowd.request),
                spread(disconnects, arguments.clients, crowd.disconnect),
            )
            crowd.wrong += await still_held(client, server.url, 20)
            await asyncio.sleep(2)
            readings.append((processes.memory(worker), processes.descriptors(worker), processes.threads(worker)))
        held = await processes.gauges(client, server.url)
    before, after = readings
    if after[0] > before[0] + GROWTH or after[1] > before[1] + 2 or after[2] > before[2]:
        crowd.wrong.append(f"memory, descriptors and threads went from {before} to {after}")
    figures = [
        f"memory of the worker after the warm-up {before[0] / 2**20:.1f} MB, at the end {after[0] / 2**20:.1f} MB",
        f"descriptors {before[1]}, at the end {after[1]}; threads {before[2]}, at the end {after[2]}",
        f"slots held at the end {held['running']:.0f}, requests in line {held['waiting']:.0f}",
    ]
    title = f"{arguments.requests} requests, {arguments.disconnects} disconnects, seed {arguments.seed}"
    return told(title, crowd.seen, figures, crowd.wrong)


def main() -> int:
    """Parse, serve, crowd."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--warm-up", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--disconnects", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.json"
        script.write_text(json.dumps(SCRIPT))
        with serving(Path(folder), f"scripted+{script}", "--max-queue", "1000", "--log-level", "warning") as server:
            return asyncio.run(run(server, arguments))


if __name__ == "__main__":
    sys.exit(main())
