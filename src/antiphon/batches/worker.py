"""Answers what is in batches, beside the requests that somebody waits for.

Each request of a batch goes through the server's own application, as if it had come over a socket: it is checked,
counted, logged and answered like any other, but comes after all others in the line before the engine. What the engine
has no room for, or the limits of its key put off, is asked again later; what fails on the server's side, a few times. A
request that was running when the server died goes on alone, so that it is known which one it was if that happens again;
after a few deaths it is given up. What the store does not take waits, and so does all that would need more of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from starlette.types import ASGIApp

from antiphon.api.errors import Internal
from antiphon.batches.ending import conclude
from antiphon.batches.journal import Journal, persistently
from antiphon.batches.queue import LEASE, ClaimLost, Queue, Share
from antiphon.batches.requests import Item
from antiphon.batches.room import Place, Room
from antiphon.batches.store import Batch, BatchStore
from antiphon.storage.repeating import repeat
from antiphon.storage.store import Store

log = logging.getLogger("antiphon")

INSIDE = "antiphon.batch"
"""The member of an ASGI scope that holds the `Origin` of a request of a batch."""
LOOK = 0.5
"""Seconds between two looks at what there is to do."""
ATTEMPTS = 3
_LONGEST_WAIT = 60.0
_PAUSE = 5.0
_SWEEP = 3600.0


class Origin(NamedTuple):
    """Where a request comes from that is in a batch: the label of the key whose batch it is, and an `id` that is its
    own however often it is asked."""

    owner: str
    id: str


class Answer(msgspec.Struct):
    """What the application answered: its status, its body, for how many seconds it asks to wait, and whether the
    same may be sent again."""

    status: int
    body: bytes
    wait: float
    again: bool


async def post(application: ASGIApp, item: Item, batch: Batch) -> Answer:
    """Send the application a request of a batch, without a socket."""
    coming = [{"type": "http.request", "body": bytes(item.params), "more_body": False}]
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

    request_headers = {"content-type": "application/json", **batch.headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/messages",
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request_headers.items()],
        INSIDE: Origin(batch.owner, f"{batch.id}/{item.custom_id}"),
    }
    await application(scope, receive, send)
    again = headers.get(b"x-should-retry") != b"false"
    return Answer(status, b"".join(chunks), float(headers.get(b"retry-after", b"1")), again)


class Worker:
    """Works on what is in the store, `most` requests at a time. `envelope` is the body that tells a client of a failure
    that the application did not tell itself. `look` is the pause between two looks at the store, and `lease` is how
    long a share of a batch waits for a worker that is no more, in seconds."""

    def __init__(
        self,
        store: Store,
        application: ASGIApp,
        most: int,
        envelope: Callable[[Internal], bytes],
        *,
        look: float = LOOK,
        lease: float = LEASE,
    ) -> None:
        self._store = store
        self._queue = Queue(store, lease)
        self._journal = Journal(store.records)
        self._application = application
        self._envelope = envelope
        self._look = look
        self._lease = lease
        self._room = Room(most, look)
        self._alone = asyncio.Lock()
        self._claimed = set[Share]()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look for work and do it, until cancelled. What is cut off is done again by whoever comes next."""
        sweep = repeat(BatchStore(self._store).sweep, "old batches could not be deleted and stay for now", _SWEEP)
        renew = repeat(self._renew, "claims of batches cannot be renewed for now", self._lease / 4)
        beside = [asyncio.ensure_future(work) for work in (sweep, renew)]
        try:
            while True:
                with contextlib.suppress(OSError):
                    await self._look_around()
                await asyncio.sleep(self._look)
        finally:
            ending = [*beside, *self._running.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._journal.close()

    async def _look_around(self) -> None:
        asking = {share.batch.id for share in self._claimed if share.count}
        for id in await self._queue.abandoned(asking):
            if task := self._running.get(id):
                task.cancel()
        for batch in await self._queue.waiting():
            if batch.id not in self._running:
                self._begin(batch)

    def _begin(self, batch: Batch) -> None:
        self._running[batch.id] = task = asyncio.ensure_future(self._batch(batch))
        task.add_done_callback(lambda _: self._running.pop(batch.id, None))

    async def _renew(self) -> None:
        with contextlib.suppress(OSError):
            await self._queue.renew(self._claimed)

    async def _batch(self, batch: Batch) -> None:
        try:
            while await self._shares(batch):
                pass
        except* OSError as trouble:
            log.warning("the batch %s cannot be worked on: %s", batch.id, trouble.exceptions[0])
            await asyncio.sleep(_PAUSE)
        except* Exception:
            log.exception("the batch %s cannot be worked on", batch.id)
            await asyncio.sleep(_LONGEST_WAIT)

    async def _shares(self, batch: Batch) -> bool:
        """Work on one share after another until none is free; the next is claimed when all requests of the last are
        begun. Says whether there was one."""
        claimed, trouble = False, None
        async with asyncio.TaskGroup() as group:
            try:
                while share := await self._queue.claim(batch):
                    claimed, begun = True, asyncio.Event()
                    group.create_task(self._share(share, begun))
                    await begun.wait()
            except OSError as error:
                # Raised in the group, it would cut off what is at work, which would be asked again.
                trouble = error
        if trouble is not None:
            raise trouble
        return claimed

    async def _share(self, share: Share, begun: asyncio.Event) -> None:
        self._claimed.add(share)
        try:
            if share.count:
                await self._answered(share, begun)
                await persistently(partial(self._queue.finish, share))
            else:
                await persistently(partial(conclude, self._store, share))
        except* ClaimLost:
            log.warning("another server has taken over this server's share of the batch %s", share.batch.id)
        finally:
            begun.set()
            self._claimed.discard(share)
            with contextlib.suppress(OSError):
                await self._queue.leave(share)

    async def _answered(self, share: Share, begun: asyncio.Event) -> None:
        items = await persistently(partial(self._queue.items, share))
        try:
            await self._all(share, items, begun)
        except* ClaimLost:
            raise
        except* Exception:
            # Ours, then: it would go the same way the next time.
            log.exception("the rest of a share of the batch %s is given up", share.batch.id)
            for item in items:
                await self._journal.answer(share, item.custom_id, self._errored("Internal server error"))

    async def _all(self, share: Share, items: Sequence[Item], begun: asyncio.Event) -> None:
        suspected = list[Item]()
        async with asyncio.TaskGroup() as group:
            for item in items:
                if share.deaths[item.custom_id]:
                    suspected.append(item)
                    continue
                place = await self._room.enter(share.batch.owner)
                # Left here, because a task that is cancelled before it begins does nothing at all.
                group.create_task(self._one(share, item, place)).add_done_callback(place.leave)
            begun.set()
        for item in suspected:
            async with self._alone:
                place = await self._room.enter(share.batch.owner)
                try:
                    await self._one(share, item, place)
                finally:
                    place.leave()

    async def _one(self, share: Share, item: Item, place: Place) -> None:
        result = await self._result(share, item, place)
        try:
            await self._journal.answer(share, item.custom_id, result)
        except (ValueError, RecursionError) as error:
            failed = self._errored(f"the answer is not JSON: {error}")
            await self._journal.answer(share, item.custom_id, failed)

    async def _result(self, share: Share, item: Item, place: Place) -> Mapping[str, Any]:
        if item.trouble:
            return self._errored(item.trouble)
        if (deaths := share.deaths[item.custom_id]) >= ATTEMPTS:
            return self._errored(f"the server died {deaths} times while it worked on this request")
        await self._journal.begin(share, item.custom_id)
        failed = 0
        while True:
            try:
                answer = await post(self._application, item, share.batch)
            except Exception:
                log.exception("the request %s of the batch %s failed", item.custom_id, share.batch.id)
                return self._errored("Internal server error")
            if answer.status in (429, 529):
                await place.put_off(min(answer.wait, _LONGEST_WAIT))
                continue
            failed += answer.status >= 500
            if answer.status < 500 or failed == ATTEMPTS or not answer.again:
                break
        how, name = ("succeeded", "message") if answer.status == 200 else ("errored", "error")
        return {"type": how, name: msgspec.Raw(answer.body)}

    def _errored(self, cause: str) -> Mapping[str, Any]:
        return {"type": "errored", "error": msgspec.Raw(self._envelope(Internal(cause)))}
