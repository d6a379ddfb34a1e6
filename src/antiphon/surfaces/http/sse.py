"""Server-sent events on the socket: the first byte promptly, a ping when all is silent, the race with a disconnect.

It moves bytes and time, and knows no API: what a batch of events looks like, what a ping is and how a failure is
told come from the surface.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from typing import Any, Protocol, TypeVar

from antiphon.api.errors import Failure, Internal, Overloaded
from antiphon.api.events import AnyEvent
from antiphon.surfaces.http.exchange import ClientGone, Exchange

log = logging.getLogger("antiphon.http")

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

T = TypeVar("T")
Batches = AsyncGenerator[list[AnyEvent], None]


class Leaving(Overloaded):
    """The server was asked to stop, and its patience with what still runs is over."""


class Telling(Protocol):
    """How a surface tells a stream of events."""

    ping: bytes

    def opening(self) -> bytes:
        """What is sent when the engine has not said anything yet."""

    def batch(self, events: list[AnyEvent]) -> bytes:
        """The frames for a batch of events."""

    def failure(self, failure: Failure) -> bytes:
        """The frame that ends a stream that broke off."""

    @property
    def finished(self) -> bool:
        """Whether the stream has come to its proper end."""


async def unless_gone(exchange: Exchange, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is cancelled the moment the client goes away. Raises `Leaving` when the server ends
    before the work does."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(exchange.gone())
    leaving = () if exchange.leaving is None else (exchange.leaving,)
    try:
        await asyncio.wait((working, watching, *leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if watching.done():
            raise ClientGone
        raise Leaving("the server is shutting down", retry_after=1)
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def send(exchange: Exchange, batches: Batches, telling: Telling, *, first_wait: float, interval: float) -> None:
    """Stream the batches to the client. A failure before the first byte is raised, a later one told in the stream."""
    stream = _Stream(exchange, batches, telling, interval)
    try:
        await unless_gone(exchange, stream.run(first_wait))
    except Leaving as failure:
        if not exchange.started:
            raise
        await stream.break_off(failure)
        await exchange.write(b"", more=False)


class _Stream:
    def __init__(self, exchange: Exchange, batches: Batches, telling: Telling, interval: float) -> None:
        self._exchange = exchange
        self._batches = batches
        self._telling = telling
        self._interval = interval
        self._clock = asyncio.get_running_loop().time
        self._last = self._clock()
        self._writing = False
        self._pinging = asyncio.Lock()

    async def run(self, first_wait: float) -> None:
        async with contextlib.aclosing(self._batches):
            first = asyncio.ensure_future(anext(self._batches, None))
            try:
                await asyncio.wait((first,), timeout=first_wait)
                if first.done():
                    await self._open(self._told(first.result()))
                    rest: Awaitable[list[AnyEvent] | None] | None = None
                else:
                    await self._open(self._telling.opening())
                    rest = first
                await self._pump(rest)
            finally:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)

    async def _open(self, chunk: bytes) -> None:
        await self._exchange.open(HEADERS)
        await self._write(chunk)

    async def _pump(self, first: Awaitable[list[AnyEvent] | None] | None) -> None:
        pinging = asyncio.ensure_future(self._ping())
        try:
            if first is not None:
                await self._write(self._told(await first))
            # The generator is run to its end: what it does after its last batch is its own business.
            async for events in self._batches:
                chunk = self._telling.batch(events)
                if chunk:
                    await self._write(chunk)
            if not self._telling.finished:
                raise Internal("the reply broke off")
        except Failure as failure:
            await self.break_off(failure)
        except Exception:
            log.exception("%s the stream broke off", self._exchange.request_id)
            await self.break_off(Internal("Internal server error"))
        finally:
            pinging.cancel()
        await self._exchange.write(b"", more=False)

    def _told(self, events: list[AnyEvent] | None) -> bytes:
        if events is None:
            raise Internal("the engine gave no answer")
        return self._telling.batch(events)

    async def break_off(self, failure: Failure) -> None:
        """End the stream in an error, unless it has come to its proper end."""
        self._exchange.watch.failure = type(failure).__name__
        self._exchange.facts["problem"] = f"broke off: {failure.message}"
        if not self._telling.finished:
            await self._write(self._telling.failure(failure))

    async def _write(self, chunk: bytes) -> None:
        # Not by a lock for both: this runs for every token.
        self._writing = True
        if self._pinging.locked():
            async with self._pinging:
                pass
        await self._exchange.write(chunk)
        self._last = self._clock()
        self._writing = False

    async def _ping(self) -> None:
        """Break every silence. One timer per interval, whatever the number of tokens."""
        while not self._telling.finished:
            quiet = self._clock() - self._last
            if quiet < self._interval:
                await asyncio.sleep(self._interval - quiet)
            elif self._writing:
                # The socket is full: the client has more to read than it does, and no ping would reach it.
                await asyncio.sleep(self._interval)
            else:
                async with self._pinging:
                    await self._exchange.write(self._telling.ping)
                    self._last = self._clock()
