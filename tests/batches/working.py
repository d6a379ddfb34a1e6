"""Workers on a store, an application of a few lines, and what is found in the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from antiphon.api.errors import Internal
from antiphon.batches.store import Batch, BatchStore
from antiphon.batches.worker import INSIDE, Worker
from antiphon.storage.store import Store

Reply = Callable[[str], tuple[int, dict[str, Any]]]
OWNER = "k"


class Application:
    """Answers `params.say` as told, and takes down what it was asked, how many at once, and for whose key. What it
    refuses may be sent again after so many seconds, `wait`."""

    def __init__(self, reply: Reply, delay: float = 0.0, wait: float = 0.0) -> None:
        self.asked: list[str] = []
        self.keys: set[str] = set()
        self.running = self.most = 0
        self._reply = reply
        self._delay = delay
        self._wait = wait

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        text = json.loads((await receive())["body"])["say"]
        self.asked.append(text)
        self.keys.add(scope[INSIDE].owner)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self._delay)
        finally:
            self.running -= 1
        status, body = self._reply(text)
        headers = [
            (b"retry-after", str(self._wait).encode()),
            *[(b"x-should-retry", b"false")] * bool(body.get("final")),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def answering(delay: float = 0.0) -> Application:
    """Says what it was asked."""
    return Application(lambda text: (200, {"said": text}), delay)


async def kept(
    store: Store, texts: list[str], *, created: float = 0.0, id: str = "msgbatch_a", owner: str = OWNER
) -> Batch:
    """A new batch; `created` is seconds ago."""
    batch = Batch(id=id, owner=owner, created=time.time() - created, total=len(texts), headers={})
    lines = (json.dumps({"custom_id": f"n{n}", "params": {"say": text}}).encode() for n, text in enumerate(texts))
    return await BatchStore(store).create(batch, lines)


def told(failure: Internal) -> bytes:
    """A failure in the words of no API."""
    return json.dumps({"type": "error", "why": failure.message}).encode()


@asynccontextmanager
async def working(store: Store, application: Any, most: int = 4, lease: float = 15.0) -> AsyncIterator[Any]:
    """A worker on a store."""
    worker = asyncio.ensure_future(Worker(store, application, most, told, look=0.02, lease=lease).run())
    try:
        yield worker
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def results(store: Store, batch: Batch) -> list[dict[str, Any]]:
    """The lines of the results."""
    content = b"".join([piece async for piece in BatchStore(store).results(batch)])
    return [json.loads(line) for line in content.split(b"\n")[:-1]]


async def ended(store: Store, id: str = "msgbatch_a") -> dict[str, Any]:
    """The results by custom id, once the batch is over; each id stands there once, and the counts are theirs."""
    for _ in range(1500):
        batch = await BatchStore(store).get(id, OWNER)
        assert batch is not None
        if batch.ended is not None:
            lines = await results(store, batch)
            found = {line["custom_id"]: line["result"] for line in lines}
            assert len(found) == len(lines) == batch.total
            counted = {name: n for name, n in msgspec.to_builtins(batch.counts).items() if n}
            assert counted == Counter(result["type"] for result in found.values())
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("the batch does not end")
