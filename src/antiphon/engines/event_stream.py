"""One POST whose answer is a stream of server-sent events, on a connection of its own.

Each token of an attached engine comes in here. A general HTTP client costs more for it than all that is done with the
token afterwards: a timer and a reader's queue for each read, and pools, redirects and cookies that nobody asks for.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import cache
from typing import cast

import aiohttp
import httptools
import yarl

_MOST_HELD = 1 << 20
"""Bytes that wait to be read before the server is made to wait."""
_MOST_AT_ONCE = 1 << 16
"""Bytes whose events are given together: what becomes of more would not stay in the processor's cache on its way."""
_MOST_TOLD = 1 << 20
"""Bytes of an answer that is no stream of events."""
_CONNECTING = 5.0
_EVENT, _EVENT_END = b"data: {", b"}\n\n"
_DATA = b"data:"
"""Some servers put no space behind it."""
_FAILURE = b"error: {"
"""How older llama.cpp servers begin to tell of a failure: in a line of its own kind."""
_SHOWN = 200


class EventStream(asyncio.Protocol):
    """The answer to one POST. `silence` is for how many seconds the server may say nothing while it is waited for."""

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._status = 0
        self._framed = False
        self.retry_after = ""
        """The header of that name."""
        self._over = False
        self._failure: OSError | None = None
        self._held: list[bytes] = []
        self.size = 0
        """Bytes that have come and are not read yet."""
        self._paused = False
        self._rest = b""
        self.opening = b""
        """How the answer begins, as long as there is no event in it."""
        self._waiter: asyncio.Future[None] | None = None
        self._waits_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def post(self, url: yarl.URL, headers: dict[str, str], body: bytes) -> None:
        """Connect and send. Raises OSError, TimeoutError among them, where the server cannot be reached."""
        secure = _trusting() if url.scheme == "https" else None
        async with asyncio.timeout(_CONNECTING):
            await self._loop.create_connection(lambda: self, url.raw_host or "", url.port or 80, ssl=secure)
        assert self._transport
        lines = {"host": url.host_port_subcomponent or "", **headers, "accept": "*/*", "connection": "close"}
        if url.user and "authorization" not in lines:
            lines["authorization"] = aiohttp.encode_basic_auth(url.user, url.password or "")
        lines["content-length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._transport.write(f"POST {url.raw_path_qs} HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        self._transport.write(body)
        self._timer = self._loop.call_later(self._silence, self._look)

    async def status(self) -> int:
        """The status of the answer. Raises TimeoutError after a silence, OSError where the connection broke."""
        while not self._status:
            if self._over:
                raise self._failure or ConnectionResetError("the connection was closed without an answer")
            await self._wait()
        return self._status

    async def events(self) -> list[bytes]:
        """The data of events that have come since, at least one; none when the answer is over. Raises as `status`
        does."""
        while True:
            while not self._held:
                if self._over:
                    if self._failure:
                        raise self._failure
                    return []
                await self._wait()
            bodies, events = self._next_bodies(), list[bytes]()
            for body in bodies:
                # Most servers frame each event by itself: its first line break is the one that ends it.
                whole = body.startswith(_EVENT) and body.endswith(_EVENT_END) and body.find(b"\n") == len(body) - 2
                if whole and not self._rest:
                    events.append(body[6:-2])
                else:
                    *lines, self._rest = (self._rest + body).split(b"\n")
                    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(_DATA)]
                    events += [each for each in data if each.startswith(b"{")]
                    events += [b'{"error":' + line[7:] + b"}" for line in lines if line.startswith(_FAILURE)]
            if events:
                return events
            if len(self.opening) < _SHOWN:
                self.opening += b"".join(bodies)

    async def text(self) -> bytes:
        """All that the answer says, where it is no stream of events. Raises as `status` does."""
        while not self._over and self.size < _MOST_TOLD:
            await self._wait()
        if self._failure:
            raise self._failure
        return b"".join(self._held)

    def close(self) -> None:
        """Close the connection, which is what tells the server to stop."""
        if self._timer:
            self._timer.cancel()
        if self._transport:
            self._transport.abort()

    def _next_bodies(self) -> list[bytes]:
        """What has come and is read now."""
        bodies, self._held = self._held, []
        if self.size > _MOST_AT_ONCE:
            count = max(len(bodies) * _MOST_AT_ONCE // self.size, 1)
            bodies, self._held = bodies[:count], bodies[count:]
        self.size = sum(map(len, self._held))
        if self._paused and self._transport and self.size < _MOST_HELD:
            self._paused = False
            self._transport.resume_reading()
        return bodies

    async def _wait(self) -> None:
        self._waits_since = self._loop.time()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _look(self) -> None:
        """One timer watches over all silences of a stream, however many tokens it brings."""
        quiet = self._loop.time() - self._waits_since if self._waiter else 0.0
        if quiet >= self._silence:
            self._end(TimeoutError("the server sent nothing"))
        else:
            self._timer = self._loop.call_later(self._silence - quiet, self._look)

    def _end(self, failure: OSError | None = None) -> None:
        if not self._over:
            self._over, self._failure = True, failure
        self._wake()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of `asyncio.Protocol`."""
        # uvloop's transport does all that one does, and is none by name.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Of `asyncio.Protocol`."""
        if self._over:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._end(ConnectionError(f"the answer is not valid HTTP: {error}"))
        if self.size > _MOST_HELD and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Of `asyncio.Protocol`. An answer without a length ends with its connection."""
        if self._status and not self._framed and error is None:
            self._end()
        else:
            broken = error if isinstance(error, OSError) else ConnectionResetError("the connection was closed")
            self._end(broken)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the parser."""
        name = name.lower()
        self._framed = self._framed or name in (b"content-length", b"transfer-encoding")
        if name == b"retry-after":
            self.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Of the parser. What is below 200 comes before the answer."""
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status

    def on_body(self, data: bytes) -> None:
        """Of the parser."""
        self._held.append(data)
        self.size += len(data)

    def on_message_complete(self) -> None:
        """Of the parser."""
        if self._status:
            self._end()


@cache
def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context()
