"""Answers what is in batches, beside the requests that somebody waits for.

Each request of a batch goes through the server's own application, as if it had come over a socket: it is checked,
counted, logged and answered like any other, but comes after all others in the line before the engine. What the engine
has no room for is asked again later; what fails on the server's side, a few times.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

import msgspec
from starlette.types import ASGIApp

from antiphon.batches.store import About, Asked, Batch, Store, Work

log = logging.getLogger("antiphon")

INSIDE = "antiphon.batch"
"""The member of an ASGI scope that holds the label of the key whose batch a request is of."""
LOOK = 0.5
"""Seconds between two looks at what others have written into the store."""
ATTEMPTS = 3
_LONGEST_WAIT = 60.0
_SWEEP = 3600.0


class Answer(msgspec.Struct):
    """What the application answered: its status, its body, and for how many seconds it asks to wait."""

    status: int
    body: bytes
    wait: float


async def post(application: ASGIApp, body: bytes, about: About) -> Answer:
    """Send the application a request for a message, without a socket."""
    coming = [{"type": "http.request", "body": body, "more_body": False}]
    status, headers, chunks = 500, dict[bytes, bytes](), list[bytes]()

    async def receive() -> dict[str, Any]:
        if not coming:
            # The client of a batch does not go away.
            await asyncio.get_running_loop().create_future()
        return coming.pop()

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.update(message["headers"])
        else:
            chunks.append(message.get("body", b""))

    given = {"content-type": "application/json", **about.headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/messages",
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()],
        INSIDE: about.key,
    }
    await application(scope, receive, send)
    return Answer(status, b"".join(chunks), float(headers.get(b"retry-after", b"1")))


class Worker:
    """Works on what is in the store, `most` requests at a time."""

    def __init__(self, store: Store, application: ASGIApp, most: int, look: float = LOOK) -> None:
        self._store = store
        self._application = application
        self._look = look
        self._room = asyncio.Semaphore(most)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for work and do it, until cancelled. What is cut off is done again by whoever comes next."""
        swept = 0.0
        try:
            while True:
                with contextlib.suppress(OSError):
                    if time.monotonic() - swept > _SWEEP or not swept:
                        swept = time.monotonic()
                        await asyncio.to_thread(self._store.sweep)
                    for batch in await asyncio.to_thread(self._store.unfinished):
                        self._begin(batch)
                await asyncio.sleep(self._look)
        finally:
            for task in (running := list(self._running.values())):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, batch: Batch) -> None:
        id = batch.about.id
        if id not in self._running:
            self._running[id] = asyncio.ensure_future(self._batch(batch))
            self._running[id].add_done_callback(lambda _: self._running.pop(id, None))

    async def _batch(self, batch: Batch) -> None:
        try:
            with self._store.claimed(batch.about.id) as mine:
                if mine:
                    await self._worked(batch)
        except Exception:
            log.exception("the batch %s could not be worked on", batch.about.id)
            # A disk that is full, or a file that somebody wrote into, is not better half a second later.
            await asyncio.sleep(_LONGEST_WAIT)

    async def _worked(self, batch: Batch) -> None:
        work = await asyncio.to_thread(Work, self._store, batch)
        with contextlib.closing(work):
            if rest := await self._answered(batch, work):
                for asked in work.left():
                    work.answer(asked.custom_id, {"type": rest})
            work.end(time.time())

    async def _answered(self, batch: Batch, work: Work) -> str:
        """Answer what is left. Gives what becomes of the rest, where the time is over or nobody wants it."""
        left = work.left()
        answering = asyncio.ensure_future(self._all(batch.about, work, left))
        try:
            while not answering.done():
                await asyncio.wait((answering,), timeout=self._look)
                now = await asyncio.to_thread(self._store.get, batch.about.id)
                if now is None or now.cancelled is not None:
                    return "canceled"
                if time.time() > batch.about.expires:
                    return "expired"
            answering.result()
            return ""
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _all(self, about: About, work: Work, left: Iterator[Asked]) -> None:
        async with asyncio.TaskGroup() as group:
            for asked in left:
                await self._room.acquire()
                group.create_task(self._one(about, work, asked)).add_done_callback(lambda _: self._room.release())

    async def _one(self, about: About, work: Work, asked: Asked) -> None:
        failed = 0
        while True:
            answer = await post(self._application, bytes(asked.params), about)
            if answer.status in (429, 529):
                await asyncio.sleep(min(answer.wait, _LONGEST_WAIT))
                continue
            failed += answer.status >= 500
            if answer.status < 500 or failed == ATTEMPTS:
                break
        body = msgspec.Raw(answer.body)
        if answer.status == 200:
            work.answer(asked.custom_id, {"type": "succeeded", "message": body})
        else:
            work.answer(asked.custom_id, {"type": "errored", "error": body})
