"""All that a server can do, at once, by many clients, while its workers are killed; then the count.

    python -m bench.everything [--minutes 3] [--clients 6] [--kill-every 15] [--only KIND …]

Tools that run here, kept responses and their chains, work in the background, batches, files, compaction, three APIs
side by side, on the scripted engine. A request may die with its worker, and the client is told by its connection. What
must hold: no 5xx, no silence, streams that end, every batch and background response over in the end with one result for
each request, kept responses and files still there. The exit status is 1 where one of these is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from bench import servers
from bench.prefill import HEADERS
from bench.reckoning import told
from bench.tools import body, outside, script, settings
from tests.faults import processes

PATIENCE = 60
"""Seconds until whatever was asked is answered, and until what goes on by itself is over."""
ENDS = (b"message_stop", b"event: error", b"response.completed", b"response.failed", b"[DONE]", b'"error"')
OVER = ("completed", "failed", "cancelled", "incomplete")
COMPACT = {"edits": [{"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 50_000}}]}


class Everything:
    """What is asked, what came of it, and what went wrong."""

    def __init__(self, url: str, site: str, mcp: str, seed: int) -> None:
        self._url, self._site, self._mcp = url, site, mcp
        self._rng = random.Random(seed)
        self._batches: dict[str, int] = {}
        self._background: list[str] = []
        self._files: list[str] = []
        self._kept: list[str] = []
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.kinds: dict[str, Callable[[aiohttp.ClientSession], Awaitable[None]]] = {
            "search": lambda client: self._tool(client, "search"),
            "fetch": lambda client: self._tool(client, "fetch"),
            "mcp": lambda client: self._tool(client, "mcp"),
            "code": lambda client: self._tool(client, "code"),
            "messages": self._messages,
            "compact": self._compact,
            "chat": self._chat,
            "responses": self._responses,
            "background": self._in_background,
            "files": self._keep_file,
            "batches": self._batch,
        }

    async def client(self, kinds: list[str], until: float) -> None:
        """One client, which asks one thing after the other."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(self._url, timeout=timeout, headers=HEADERS) as client:
            while time.monotonic() < until:
                await self.kinds[self._rng.choice(kinds)](client)

    async def _ask(
        self, client: aiohttp.ClientSession, kind: str, path: str, method: str = "POST", **given: Any
    ) -> bytes:
        """The answer, if it is a good one."""
        try:
            async with client.request(method, path, **given) as response:
                status, raw = response.status, await response.read()
        except TimeoutError:
            self.wrong.append(f"{kind}: nothing for {PATIENCE} s")
            return b""
        except aiohttp.ClientError:
            self.seen[f"{kind} died with its worker"] += 1
            return b""
        self.seen[f"{kind} {status}"] += 1
        if status >= 500 and status != 529:
            self.wrong.append(f"{kind}: {status} {raw[:200]!r}")
        if raw.startswith((b"event:", b"data:")) and not any(end in raw[-4000:] for end in ENDS):
            self.wrong.append(f"{kind}: a stream without an end: …{raw[-200:]!r}")
        return raw if status == 200 else b""

    def _number(self) -> int:
        return self._rng.randrange(10**9)

    async def _tool(self, client: aiohttp.ClientSession, kind: str) -> None:
        asked = body(kind, self._number(), self._site, self._mcp)
        await self._ask(client, kind, "/v1/messages", json={**asked, "stream": self._rng.random() < 0.5})

    async def _messages(self, client: aiohttp.ClientSession) -> None:
        turn = {"role": "user", "content": f"Hello, number {self._number()}"}
        asked = {"model": "tools", "max_tokens": 100, "messages": [turn]}
        await self._ask(client, "messages", "/v1/messages", json={**asked, "stream": self._rng.random() < 0.5})
        await self._ask(client, "count", "/v1/messages/count_tokens", json=asked)
        await self._ask(client, "metrics", "/metrics", "GET")

    async def _compact(self, client: aiohttp.ClientSession) -> None:
        turns = [("user", "word " * 30_000), ("assistant", "Yes."), ("user", "Go on.")]
        messages = [{"role": role, "content": text} for role, text in turns]
        asked = {"model": "tools", "max_tokens": 100, "messages": messages, "context_management": COMPACT}
        await self._ask(client, "compact", "/v1/messages", json=asked)

    async def _chat(self, client: aiohttp.ClientSession) -> None:
        asked = {"model": "tools", "n": 2, "messages": [{"role": "user", "content": "Hello"}]}
        stream = self._rng.random() < 0.5
        await self._ask(client, "chat", "/v1/chat/completions", json={**asked, "stream": stream})

    async def _responses(self, client: aiohttp.ClientSession) -> None:
        asked: dict[str, Any] = {"model": "tools", "input": f"Hello, number {self._number()}"}
        if self._kept and self._rng.random() < 0.6:
            asked["previous_response_id"] = self._rng.choice(self._kept)
        if self._rng.random() < 0.4:
            await self._ask(client, "responses", "/v1/responses", json={**asked, "stream": True})
        elif raw := await self._ask(client, "responses", "/v1/responses", json=asked):
            self._kept.append(json.loads(raw)["id"])

    async def _in_background(self, client: aiohttp.ClientSession) -> None:
        asked = {"model": "tools", "input": "Search now", "background": True, "tools": [{"type": "web_search"}]}
        if raw := await self._ask(client, "background", "/v1/responses", json=asked):
            self._background.append(id := json.loads(raw)["id"])
            if self._rng.random() < 0.3:
                await self._ask(client, "cancel", f"/v1/responses/{id}/cancel")

    async def _keep_file(self, client: aiohttp.ClientSession) -> None:
        form = aiohttp.FormData()
        form.add_field("file", os.urandom(self._rng.randrange(1, 300_000)), filename="some.bin")
        if raw := await self._ask(client, "upload", "/v1/files", data=form):
            self._files.append(json.loads(raw)["id"])
        await self._ask(client, "files", "/v1/files?limit=20", "GET")
        if len(self._files) > 20:
            await self._ask(client, "delete", f"/v1/files/{self._files.pop(0)}", "DELETE")

    async def _batch(self, client: aiohttp.ClientSession) -> None:
        kinds = self._rng.choices(("search", "fetch", "mcp"), k=self._rng.randint(1, 5))
        params = [{**body(kind, self._number(), self._site, self._mcp), "stream": False} for kind in kinds]
        requests = [{"custom_id": f"r{index}", "params": each} for index, each in enumerate(params)]
        if raw := await self._ask(client, "batch", "/v1/messages/batches", json={"requests": requests}):
            self._batches[id := json.loads(raw)["id"]] = len(requests)
            if self._rng.random() < 0.2:
                await self._ask(client, "batch canceled", f"/v1/messages/batches/{id}/cancel")

    async def reckon(self) -> None:
        """What was asked to be kept is there, what goes on by itself comes to its end."""
        async with aiohttp.ClientSession(self._url, headers=HEADERS) as client:

            async def found(path: str) -> Any:
                async with client.get(path) as response:
                    return await response.json() if response.status == 200 else {}

            for id in self._background:
                status = await _last(partial(found, f"/v1/responses/{id}"), "status", OVER)
                self.seen[f"background response {status}"] += 1
                if status not in OVER:
                    self.wrong.append(f"the response {id} is {status} for ever")
            for id, many in self._batches.items():
                path = f"/v1/messages/batches/{id}"
                status = await _last(partial(found, path), "processing_status", ("ended",))
                async with client.get(f"{path}/results") as response:
                    results = [json.loads(line) for line in (await response.text()).splitlines()]
                self.seen.update(f"result {result['result']['type']}" for result in results)
                if status != "ended" or sorted(r["custom_id"] for r in results) != [f"r{i}" for i in range(many)]:
                    self.wrong.append(f"the batch {id} is {status} with {len(results)} results of {many}")
            paths = [f"/v1/files/{id}" for id in self._files] + [f"/v1/responses/{id}" for id in self._kept]
            self.wrong += [f"{path} is gone" for path in paths if not await found(path)]


async def _last(find: Callable[[], Awaitable[Any]], key: str, over: tuple[str, ...]) -> str:
    """What stands there when it is over, or when patience is."""
    for _ in range(PATIENCE * 2):
        status = (await find()).get(key)
        if status in over:
            break
        await asyncio.sleep(0.5)
    return str(status)


async def kill(server: servers.Running, run: Everything, every: float, until: float) -> None:
    """Kill the eldest of the workers now and then: the other one was started long enough ago to answer meanwhile."""
    while time.monotonic() + every < until:
        await asyncio.sleep(every)
        os.kill(min(processes.workers(server.process.pid)), signal.SIGKILL)
        run.seen["worker killed"] += 1


async def main(arguments: argparse.Namespace) -> int:
    """Start all of it, ask, tell."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        site, mcp = await outside(stack)
        said = script(site)
        (folder / "script.json").write_text(json.dumps({**said, "rules": [*said["rules"], {"text": "word " * 10}]}))
        config = folder / "antiphon.toml"
        config.write_text(settings(site, {"tools": f"scripted+{folder / 'script.json'}"}))
        options = ("--config", str(config), "--workers", "2")
        server = await asyncio.to_thread(lambda: stack.enter_context(servers.antiphon(folder, "", *options)))
        run = Everything(server.url, site, mcp, arguments.seed)
        until = time.monotonic() + 60 * arguments.minutes
        killing = [kill(server, run, arguments.kill_every, until)] if arguments.kill_every else []
        kinds = arguments.only or list(run.kinds)
        await asyncio.gather(*(run.client(kinds, until) for _ in range(arguments.clients)), *killing)
        await run.reckon()
        memory = [processes.memory(pid) // 2**20 for pid in processes.workers(server.process.pid)]
    title = f"{arguments.minutes:g} minutes, {arguments.clients} clients, seed {arguments.seed}"
    return told(title, run.seen, [f"memory of the workers: {memory} MB"], run.wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--kill-every", type=float, default=15, metavar="SECONDS", help="0: never")
    parser.add_argument("--only", nargs="*", metavar="KIND")
    parser.add_argument("--seed", type=int, default=1)
    sys.exit(asyncio.run(main(parser.parse_args())))
