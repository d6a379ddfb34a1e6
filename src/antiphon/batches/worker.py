"""Answers what is in batches, beside the requests that somebody waits for.

Each request of a batch goes through the server's own application, as if it had come over a socket: it is checked,
counted, logged and answered like any other, but comes after all others in the line before the engine. What the engine
has no room for is asked again later; what fails on the server's side, a few times. A request that was running when the
server died goes on alone, so that it is known which one it was if that happens again; after a few deaths it is given
up. What the disk has no room for waits, and so does all that would need more of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from starlette.types import ASGIApp

from antiphon.api.errors import Internal
from antiphon.batches.progress import BatchItem, Progress
from antiphon.batches.store import About, Batch, Store

log = logging.getLogger("antiphon")

INSIDE = "antiphon.batch"
"""The member of an ASGI scope that holds the label of the key whose batch a request is of."""
LOOK = 0.5
"""Seconds between two looks at what others have written into the store."""
ATTEMPTS = 3
_LONGEST_WAIT = 60.0
_LONGEST_PAUSE = 5.0
"""Seconds between two attempts to write, at most: what is kept works again by itself once there is room."""
_SWEEP = 3600.0


class Answer(msgspec.Struct):
    """What the application answered: its status, its body, for how many seconds it asks to wait, and whether the
    same may be sent again."""

    status: int
    body: bytes
    wait: float
    again: bool


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
    again = headers.get(b"x-should-retry") != b"false"
    return Answer(status, b"".join(chunks), float(headers.get(b"retry-after", b"1")), again)


class Worker:
    """Works on what is in the store, `most` requests at a time. `envelope` is the body that tells a client of a failure
    that the application did not tell itself. `look` is the pause between two looks at the store, in seconds."""

    def __init__(
        self, store: Store, application: ASGIApp, most: int, envelope: Callable[[Internal], bytes], look: float = LOOK
    ) -> None:
        self._store = store
        self._application = application
        self._envelope = envelope
        self._look = look
        self._room = asyncio.Semaphore(most)
        self._alone = asyncio.Lock()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for work and do it, until cancelled. What is cut off is done again by whoever comes next."""
        swept = 0.0
        try:
            while True:
                with contextlib.suppress(OSError):
                    for batch in await asyncio.to_thread(self._store.unfinished):
                        self._begin(batch)
                    if time.monotonic() - swept > _SWEEP or not swept:
                        swept = time.monotonic()
                        await asyncio.to_thread(self._store.sweep)
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
        except* OSError as trouble:
            log.warning("the batch %s cannot be worked on: %s", batch.about.id, trouble.exceptions[0])
            await asyncio.sleep(_LONGEST_PAUSE)
        except* Exception:
            log.exception("the batch %s cannot be worked on", batch.about.id)
            await asyncio.sleep(_LONGEST_WAIT)

    async def _worked(self, batch: Batch) -> None:
        progress = await asyncio.to_thread(Progress, self._store, batch)
        with contextlib.closing(progress):
            try:
                rest = await self._answered(batch, progress)
            except* OSError:
                raise
            except* Exception:
                # Ours, then: it would go the same way the next time.
                log.exception("the rest of the batch %s is given up", batch.about.id)
                rest = self._errored("Internal server error")
            if rest is not None:
                for asked in progress.left(reachable=False):
                    await self._kept(progress.answer, asked.custom_id, rest)
            await self._kept(progress.end, time.time())

    async def _answered(self, batch: Batch, progress: Progress) -> Mapping[str, Any] | None:
        """Answer what is left. Gives the result of all the rest, where the time is over or nobody wants it."""
        answering = asyncio.ensure_future(self._all(batch.about, progress))
        try:
            while True:
                with contextlib.suppress(OSError):
                    now = await asyncio.to_thread(self._store.get, batch.about.id)
                    if now is None or now.cancelled is not None:
                        return {"type": "canceled"}
                if time.time() > batch.about.expires:
                    return {"type": "expired"}
                await asyncio.wait((answering,), timeout=self._look)
                if answering.done():
                    answering.result()
                    return None
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _all(self, about: About, progress: Progress) -> None:
        suspected = list[BatchItem]()
        async with asyncio.TaskGroup() as group:
            for asked in progress.left():
                if progress.deaths(asked.custom_id):
                    suspected.append(asked)
                    continue
                await self._room.acquire()
                task = group.create_task(self._one(about, progress, asked))
                task.add_done_callback(lambda _: self._room.release())
        for asked in suspected:
            async with self._alone, self._room:
                await self._one(about, progress, asked)

    async def _one(self, about: About, progress: Progress, asked: BatchItem) -> None:
        try:
            result = await self._result(about, progress, asked)
            try:
                await self._kept(progress.answer, asked.custom_id, result)
            except (ValueError, RecursionError) as error:
                await self._kept(progress.answer, asked.custom_id, self._errored(f"the answer is not JSON: {error}"))
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                progress.let_go(asked.custom_id)
            raise

    async def _result(self, about: About, progress: Progress, asked: BatchItem) -> Mapping[str, Any]:
        if asked.trouble:
            return self._errored(asked.trouble)
        if (deaths := progress.deaths(asked.custom_id)) >= ATTEMPTS:
            return self._errored(f"the server died {deaths} times while it worked on this request")
        await self._kept(progress.begin, asked.custom_id)
        failed = 0
        while True:
            try:
                answer = await post(self._application, bytes(asked.params), about)
            except Exception:
                log.exception("the request %s of the batch %s failed", asked.custom_id, about.id)
                return self._errored("Internal server error")
            if answer.status in (429, 529):
                await asyncio.sleep(min(answer.wait, _LONGEST_WAIT))
                continue
            failed += answer.status >= 500
            if answer.status < 500 or failed == ATTEMPTS or not answer.again:
                break
        how, name = ("succeeded", "message") if answer.status == 200 else ("errored", "error")
        return {"type": how, name: msgspec.Raw(answer.body)}

    def _errored(self, cause: str) -> Mapping[str, Any]:
        return {"type": "errored", "error": msgspec.Raw(self._envelope(Internal(cause)))}

    async def _kept(self, write: Callable[..., None], *what: Any) -> None:
        """Have it written as soon as the disk takes it."""
        pause = self._look
        while True:
            try:
                return await asyncio.to_thread(write, *what)
            except FileNotFoundError:
                # The batch was taken away, by somebody who has access to the folder.
                raise
            except OSError as error:
                if pause == self._look:
                    log.warning("a batch waits for the disk: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
