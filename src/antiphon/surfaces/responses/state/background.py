"""Responses that are made while nobody waits for them.

Each is a task of the worker that took the request. Once a second what was told of it is kept where every worker finds
it, its lease is renewed, and it is looked whether somebody cancelled it. A response whose lease is over has lost its
worker: whoever asks for it next finds that it failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from antiphon.api.errors import Failure, Internal
from antiphon.api.events import AnyEvent, Run
from antiphon.surfaces.responses import sent
from antiphon.surfaces.responses.encode import Encoder
from antiphon.surfaces.responses.frames import count, split
from antiphon.surfaces.responses.state.response_store import UNDONE, KeptResponses

log = logging.getLogger("antiphon.http")

Finish = Callable[[sent.Response], Awaitable[None]]

SECONDS = 1.0
"""How often a response is kept as far as it has come, and read where another worker makes it."""


class Background:
    """The responses that this worker makes, each a task among `tasks`. When `leaving` is done, those that are left
    fail."""

    def __init__(
        self, responses: KeptResponses, tasks: set[asyncio.Task[None]], leaving: asyncio.Future[None] | None
    ) -> None:
        self._responses = responses
        self._leaving = leaving
        self._streams: dict[str, _Stream] = {}
        self._tasks = tasks

    def begin(self, id: str, run: Run, encoder: Encoder, finish: Finish) -> None:
        """Have a response made that is kept already. It is handed to `finish`, and kept as it is then, before its end
        is told: a client that goes on from it at once finds it."""
        stream = self._streams[id] = _Stream(encoder.start())
        task = asyncio.ensure_future(self._make(id, run, encoder, stream, finish))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def follow(self, id: str, owner: str, number: int) -> AsyncIterator[bytes]:
        """The frames of a response from this number on, until there are no more. Raises NotFound."""
        if (stream := self._streams.get(id)) is not None:
            async for frames in stream.since(number):
                yield frames
            return
        while True:
            # In this order: what ended by then has all of its frames there.
            response = await self._responses.find(id, owner)
            frames = await self._responses.frames_since(id, number)
            number += count(frames)
            if frames:
                yield frames
            if response.status not in UNDONE:
                return
            await asyncio.sleep(SECONDS)

    async def _make(self, id: str, run: Run, encoder: Encoder, stream: _Stream, finish: Finish) -> None:
        last = b""

        async def take(batch: list[AnyEvent]) -> None:
            nonlocal last
            frames = encoder.batch(batch)
            if encoder.finished:
                last = frames
            else:
                stream.add(frames)

        try:
            await self._watched(id, run(take), stream)
            if not encoder.finished:
                raise Internal("the reply broke off")
        except _Unwanted:
            pass
        except Failure as failure:
            last = encoder.failure(failure)
        except Exception:
            log.exception("a response in the background broke off")
            last = encoder.failure(Internal("Internal server error"))
        try:
            if (response := encoder.response) is not None:
                await finish(response)
                await self._settle(response, stream, last)
        except Failure as failure:
            log.warning("%s is lost: %s", id, failure.message)
        finally:
            del self._streams[id]
            stream.add(last)
            stream.end()

    async def _settle(self, response: sent.Response, stream: _Stream, last: bytes) -> None:
        """Keep a response that has come to its end, and what was not kept yet of its stream."""
        first, frames = stream.unsaved()
        body = msgspec.json.encode(response)
        await self._responses.settle(response.id, response.status, body, first=first, frames=frames + last)

    async def _watched(self, id: str, work: Coroutine[Any, Any, None], stream: _Stream) -> None:
        """Do the work for as long as it is wanted. Raises _Unwanted, and what the work does."""
        working = asyncio.ensure_future(work)
        ends: list[asyncio.Future[Any]] = [working, *([] if self._leaving is None else [self._leaving])]
        try:
            while not working.done():
                await asyncio.wait(ends, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if working.done():
                    break
                if self._leaving is not None and self._leaving.done():
                    raise Internal("the server was stopped before the response was made")
                # A store that does not work now may do so again before the lease is over.
                with contextlib.suppress(Failure):
                    first, frames = stream.unsaved()
                    if await self._responses.renew(id, first, frames) not in UNDONE:
                        raise _Unwanted
                    stream.saved = first + count(frames)
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


class _Unwanted(Exception):
    """The response was cancelled or forgotten."""


class _Stream:
    """The frames of a response that is being made here. `saved` is how many of them are kept."""

    def __init__(self, frames: bytes) -> None:
        self._frames = split(frames)
        self._ended = False
        self._more = asyncio.Event()
        self.saved = 0

    def add(self, frames: bytes) -> None:
        """Further frames."""
        self._frames += split(frames)
        self._wake()

    def end(self) -> None:
        """There are no more."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def unsaved(self) -> tuple[int, bytes]:
        """The number of the first frame that is not kept yet, and all from there on."""
        return self.saved, b"".join(self._frames[self.saved :])

    async def since(self, number: int) -> AsyncIterator[bytes]:
        """The frames from this number on, until there are no more."""
        while True:
            if number < len(self._frames):
                frames = self._frames[number:]
                number += len(frames)
                yield b"".join(frames)
            elif self._ended:
                return
            else:
                await self._more.wait()
