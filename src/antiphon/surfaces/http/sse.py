"""Replies on the socket, whole or as server-sent events: the first byte promptly, a ping when all is silent, the race
with a disconnect.

It moves bytes and time, and knows no API: what a batch of events looks like, what a ping is and how a failure is
told come from the surface.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from antiphon.api.errors import Failure, Internal, Overloaded
from antiphon.api.events import Run
from antiphon.api.reply import Fold, Reply
from antiphon.surfaces.http.exchange import ClientGone, Exchange

log = logging.getLogger("antiphon.http")

HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)

T = TypeVar("T")
B = TypeVar("B")
Batch = TypeVar("Batch", contravariant=True)


class Leaving(Overloaded):
    """The server was asked to stop, and its patience with what still runs is over."""


class StreamEncoder(Protocol[Batch]):
    """How a surface tells a stream of what comes in batches: of events, or of events with the number of their reply."""

    @property
    def ping(self) -> bytes:
        """What breaks a silence."""

    def opening(self) -> bytes:
        """What is sent when the engine has not said anything yet."""

    def batch(self, events: Batch) -> bytes:
        """The frames for a batch."""

    async def failure(self, failure: Failure) -> bytes:
        """The frame that ends a stream that broke off, once what is left of its reply is kept, where it is."""

    @property
    def finished(self) -> bool:
        """Whether the stream has come to its proper end."""


async def unless_gone(exchange: Exchange, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is cancelled the moment the client goes away. Raises `Leaving` when the server ends
    before the work does."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(exchange.disconnected())
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


async def whole(exchange: Exchange, run: Run) -> Reply:
    """The whole reply of what `run` emits, for as long as the client waits for it."""
    folding = Fold()
    await unless_gone(exchange, run(folding.take))
    try:
        return folding.reply()
    except ValueError:
        raise Internal("the reply broke off") from None


async def send(
    exchange: Exchange,
    run: Callable[[Callable[[B], Awaitable[None]]], Coroutine[Any, Any, None]],
    encoder: StreamEncoder[B],
    *,
    first_wait: float,
    interval: float,
) -> None:
    """Stream what `run` emits to the client. A failure before the first byte is raised, a later one told in the stream.
    The head goes out with the first batch, or after `first_wait` seconds; then no silence is longer than `interval`
    seconds."""
    async with _Stream(exchange, encoder, first_wait, interval) as stream:
        try:
            await unless_gone(exchange, run(stream.write))
            if not encoder.finished:
                raise Internal("the reply broke off" if exchange.started else "the engine gave no answer")
        except ClientGone:
            raise
        except Exception as error:
            if not exchange.started:
                raise
            if not isinstance(error, Failure):
                log.exception("%s the stream broke off", exchange.request_id)
                error = Internal("Internal server error")
            await stream.break_off(error)
    await exchange.write(b"", more=False)


class _Stream(Generic[B]):
    """The writing end. Whoever generates writes the batches; a timer breaks the silences. There is one timer for a
    silence's length, whatever the number of tokens, and no lock: a batch waits for what breaks a silence, which in turn
    does not begin while a batch is written."""

    def __init__(self, exchange: Exchange, encoder: StreamEncoder[B], first_wait: float, interval: float) -> None:
        self._exchange = exchange
        self._encoder = encoder
        self._interval = interval
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._writing = False
        self._filler: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(first_wait, self._silent)

    async def __aenter__(self) -> _Stream[B]:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._timer.cancel()
        if self._filler is not None:
            self._filler.cancel()
            await asyncio.gather(self._filler, return_exceptions=True)

    async def write(self, events: B) -> None:
        """Write a batch."""
        self._writing = True
        if self._filler is not None:
            await self._filler
        if chunk := self._encoder.batch(events):
            await self._send(chunk)
        self._writing = False

    async def break_off(self, failure: Failure) -> None:
        """End the stream in an error, unless it has come to its proper end."""
        self._exchange.watch.failure = type(failure).__name__
        self._exchange.facts["problem"] = f"broke off: {failure.message}"
        self._writing = True
        if self._filler is not None:
            await self._filler
        if not self._encoder.finished:
            await self._exchange.write(await self._encoder.failure(failure))

    async def _send(self, chunk: bytes) -> None:
        if not self._exchange.started:
            await self._exchange.open(HEADERS)
        await self._exchange.write(chunk)
        self._last = self._loop.time()

    def _silent(self) -> None:
        if self._encoder.finished:
            return
        quiet = self._loop.time() - self._last
        # While a batch is being written the socket is full: the client has more to read than it does.
        if self._writing:
            wait = self._interval
        elif self._exchange.started and quiet < self._interval:
            wait = self._interval - quiet
        else:
            self._filler = self._loop.create_task(self._fill())
            wait = self._interval
        self._timer = self._loop.call_later(wait, self._silent)

    async def _fill(self) -> None:
        await self._send(self._encoder.ping if self._exchange.started else self._encoder.opening())
        self._filler = None
