"""Responses told as streams: those that are made while their client listens, and those of the background."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from antiphon.api.errors import Failure
from antiphon.api.events import AnyEvent
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.openai import failures
from antiphon.surfaces.responses import encode, sent
from antiphon.surfaces.responses.frames import count, frame
from antiphon.surfaces.responses.reply import Style


class StreamEncoder:
    """The reply to one request, as `sse` wants it told. One that breaks off is handed to `keep` before that is told: a
    client may look at once for what became of it."""

    ping = encode.PING

    def __init__(self, style: Style, keep: Callable[[sent.Response], Awaitable[object]]) -> None:
        self._encoder = encode.Encoder(style)
        self._keep = keep
        self._ahead = b""

    @property
    def finished(self) -> bool:
        return self._encoder.finished

    def opening(self) -> bytes:
        return b"" if self._ahead else self._encoder.start()

    def batch(self, events: list[AnyEvent]) -> bytes:
        ahead, self._ahead = self._ahead, b""
        return ahead or self._encoder.batch(events)

    async def failure(self, failure: Failure) -> bytes:
        frames = self._encoder.failure(failure)
        if (response := self._encoder.response) is not None:
            await self._keep(response)
        return frames

    def encode_ahead(self, events: list[AnyEvent]) -> sent.Response | None:
        """Make the frames of the last batch before it is its turn, for the response that they end in."""
        self._ahead = self._encoder.batch(events)
        return self._encoder.response


class _Relay:
    """Frames that were encoded elsewhere, from this `number` on, as `sse` wants them told."""

    ping = encode.PING

    def __init__(self, number: int) -> None:
        self._number = number
        self.finished = False

    def opening(self) -> bytes:
        return encode.PING

    def batch(self, frames: bytes) -> bytes:
        self._number += count(frames)
        return frames

    async def failure(self, failure: Failure) -> bytes:
        """That no more can be told now; the response itself has not failed."""
        told = failures.trouble(failure, "input")
        return frame("error", {"code": told.code, "message": told.message, "param": told.param}, self._number)


async def relay(exchange: Exchange, frames: AsyncIterator[bytes], number: int, *, interval: float) -> None:
    """Pass on the frames of a response that is made in the background; the first has this number."""
    encoder = _Relay(number)

    async def run(emit: Callable[[bytes], Awaitable[None]]) -> None:
        # There may be no frames left to tell.
        await emit(encode.PING)
        async for each in frames:
            await emit(each)
        encoder.finished = True

    await sse.send(exchange, run, encoder, first_wait=interval, interval=interval)
