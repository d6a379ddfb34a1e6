"""Many clients for a long time, some of them rude, and an engine that is killed now and then; then the count.

    python -m bench.soak [--minutes 30] [--clients 6] [--kill-every 120] [MODEL]

Starts its own server (without MODEL, the default model in the embedded engine, one thread). Clients stream, ask for
whole replies, count tokens, force a tool, send what is no request, and go away at random moments. Every `--kill-every`
seconds the engine is killed. At the end, figures; the exit status is 1 when a stream ended without its terminal event,
a well-formed request got a 5xx other than 529, a slot is still held, or memory or descriptors have grown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from bench.reckoning import still_held, told
from tests.end_to_end.conftest import Server, serving
from tests.faults import processes
from tests.faults.asking import HEADERS, ask, body, leave

TOOL = {
    "name": "look",
    "input_schema": {"type": "object", "properties": {"where": {"type": "string", "maxLength": 20}}},
}
BAD = (b"", b"{", b"[]", b'{"model": 5}', b'{"model":"m","max_tokens":-1,"messages":[]}', b"\xff\xfe", b"[" * 20000)
GROWTH = 32 * 2**20
"""Bytes of worker memory that caches may still fill after the first tenth of the time."""


class Soak:
    """What the clients do, and what came of it: `seen` counts outcomes by kind."""

    def __init__(self, server: Server, seed: int) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._url = server.url
        self._rng = random.Random(seed)

    async def client(self, until: float) -> None:
        """One client that never rests."""
        kinds = (
            self._stream,
            self._stream,
            self._whole,
            self._count,
            self._forced,
            self._bad,
            self._leave,
            self._leave,
        )
        async with aiohttp.ClientSession() as client:
            while time.monotonic() < until:
                try:
                    await self._rng.choice(kinds)(client)
                except aiohttp.ClientError as error:
                    self.wrong.append(f"the connection failed: {error!r}")

    def _text(self) -> str:
        return "Tell me something about the sea. " * self._rng.choice((1, 1, 1, 5, 60))

    def _judge(self, kind: str, status: int, raw: bytes) -> None:
        self.seen[f"{kind} {status}"] += 1
        if status >= 500 and status != 529 and b"broke off" not in raw and b"does not answer" not in raw:
            self.wrong.append(f"{kind}: {status} {raw[:200]!r}")

    async def _stream(self, client: aiohttp.ClientSession) -> None:
        status, raw = await ask(client, self._url, self._text(), max_tokens=self._rng.randint(1, 80))
        self._judge("stream", status, raw)
        if status == 200:
            ends = raw.count(b"event: message_stop\n") + raw.count(b"event: error\n")
            self.seen["stream ended by " + ("error" if b"event: error\n" in raw else "message_stop")] += 1
            if ends != 1:
                self.wrong.append(f"a stream with {ends} ends: …{raw[-200:]!r}")

    async def _whole(self, client: aiohttp.ClientSession) -> None:
        answer = await ask(client, self._url, self._text(), stream=False, max_tokens=self._rng.randint(1, 80))
        self._judge("whole", *answer)

    async def _post(self, client: aiohttp.ClientSession, path: str, **given: Any) -> tuple[int, bytes]:
        async with client.post(self._url + path, **given) as response:
            return response.status, await response.read()

    async def _count(self, client: aiohttp.ClientSession) -> None:
        sent = body(self._text())
        self._judge("count", *await self._post(client, "/v1/messages/count_tokens", json=sent, headers=HEADERS))

    async def _forced(self, client: aiohttp.ClientSession) -> None:
        sent = {**body("Look.", stream=False, max_tokens=100), "tools": [TOOL], "tool_choice": {"type": "any"}}
        self._judge("forced", *await self._post(client, "/v1/messages", json=sent, headers=HEADERS))

    async def _bad(self, client: aiohttp.ClientSession) -> None:
        headers = {**HEADERS, "content-type": "application/json"}
        status, raw = await self._post(client, "/v1/messages", data=self._rng.choice(BAD), headers=headers)
        self.seen[f"bad {status}"] += 1
        if not 400 <= status < 500:
            self.wrong.append(f"bad input: {status} {raw[:200]!r}")

    async def _leave(self, client: aiohttp.ClientSession) -> None:
        stream = self._rng.random() < 0.5
        self.seen[await leave(self._url, self._text(), self._rng, 3.0, stream=stream, max_tokens=200)] += 1


async def kill(server: Server, soak: Soak, every: float, until: float) -> None:
    """Kill the engine now and then, but for the last part of the time."""
    while time.monotonic() + 1.5 * every < until:
        await asyncio.sleep(every)
        os.kill(processes.engines(server.process.pid)[0], signal.SIGKILL)
        soak.seen["engine killed"] += 1


async def run(server: Server, arguments: argparse.Namespace) -> int:
    """The whole soak; gives the exit status."""
    begun, soak = time.monotonic(), Soak(server, arguments.seed)
    (worker,) = processes.workers(server.process.pid)
    until, warm = begun + 60 * arguments.minutes, begun + 6 * arguments.minutes
    async with aiohttp.ClientSession() as client:
        await asyncio.gather(*(soak.client(warm) for _ in range(arguments.clients)))
        await processes.eventually(processes.idle(client, server.url))
        before = processes.memory(worker), processes.descriptors(worker)
        killing = [kill(server, soak, arguments.kill_every, until)] if arguments.kill_every else []
        await asyncio.gather(*(soak.client(until) for _ in range(arguments.clients)), *killing)
        soak.wrong += await still_held(client, server.url)
        await asyncio.sleep(2)
        after = processes.memory(worker), processes.descriptors(worker)
    if after[0] > before[0] + GROWTH or after[1] > before[1] + 10:
        soak.wrong.append(f"memory and descriptors went from {before} to {after}")
    figures = [
        f"memory of the worker {before[0] / 2**20:.1f} MB, at the end {after[0] / 2**20:.1f} MB",
        f"descriptors {before[1]}, at the end {after[1]}",
    ]
    title = f"{arguments.minutes:g} minutes, {arguments.clients} clients, seed {arguments.seed}"
    return told(title, soak.seen, figures, soak.wrong)


def main() -> int:
    """Parse, serve, soak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="what to serve instead of the default model")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--kill-every", type=float, default=120, metavar="SECONDS", help="0: never")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    given = [arguments.model] if arguments.model else ["--threads", "1", "--context-length", "4096"]
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), *given) as server:
        return asyncio.run(run(server, arguments))


if __name__ == "__main__":
    sys.exit(main())
