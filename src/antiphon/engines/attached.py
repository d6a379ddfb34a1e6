"""What every engine that is attached by URL shares: the session, patience with a server that starts, answers of a known
shape, and server-sent events. What a failure means, `upstream` says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import yarl

from antiphon.api.errors import BadRequest, EngineFailed, Overloaded
from antiphon.engines import Health, Reach
from antiphon.engines.upstream import Told, Upstream

Shape = TypeVar("Shape")
_LEAST_PATIENCE = 10.0
_SHOWN = 200


class Attached:
    """The HTTP server of an engine at `url`, called `name` (`vLLM server`) in what is told of it. Raises ValueError
    where the address is none."""

    def __init__(self, url: str, reach: Reach, name: str) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(
                f"the {name} at {url!r} cannot be reached: its address must begin with http:// or https://"
            )
        self._headers = {"content-type": "application/json"}
        if reach.key:
            self._headers["authorization"] = f"Bearer {reach.key}"
        self._silence = reach.silence
        self._patience = reach.patience
        self._cause = Path(reach.cause) if reach.cause else None
        self._broken = False
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        shown = str(yarl.URL(self.url).with_user(None).with_query(None))
        self.upstream = Upstream(name, shown.rstrip("/"), own=bool(reach.cause))

    def _session(self, *, fresh: bool = False) -> aiohttp.ClientSession:
        """The session, or the one whose every request has a connection of its own."""
        if fresh not in self._sessions:
            connector = aiohttp.TCPConnector(limit=0, force_close=fresh)
            self._sessions[fresh] = aiohttp.ClientSession(headers=self._headers, connector=connector)
        return self._sessions[fresh]

    async def open(self, method: str, path: str, body: Any = None, *, once: bool = False) -> aiohttp.ClientResponse:
        """A response whose status is good. Waits for a server that is not there yet. What is sent `once` is not sent
        again to a server that was reached and then lost: EngineLost."""
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                answer = await self._answer(method, path, body, once)
            except Overloaded:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.25)
            else:
                return answer

    async def _answer(self, method: str, path: str, body: Any, once: bool) -> aiohttp.ClientResponse:
        """What comes of asking one time."""
        question = f"{method} {path}"
        data = None if body is None else msgspec.json.encode(body)
        # What is not worked on is answered at once, or not at all.
        silence = min(self._silence, max(self._patience, _LEAST_PATIENCE)) if body is None else self._silence
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence)
        try:
            # A kept connection may be of a server that is gone; only a fresh one tells that this one was reached.
            session = self._session(fresh=once)
            response = await session.request(method, self.url + path, data=data, timeout=timeout)
            if response.status < 300:
                return response
            async with response:
                raise self.upstream.answered(question, response.status, await response.read())
        except aiohttp.SocketTimeoutError:
            raise self.upstream.silent(question, silence) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if once and not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                raise self.upstream.lost(question, self._why()) from error
            raise self.upstream.absent(question, error) from error

    async def ask(self, method: str, path: str, shape: type[Shape], body: Any = None) -> Shape:
        """What a JSON route answers, which must have this shape."""
        question, data = f"{method} {path}", b""
        try:
            async with await self.open(method, path, body) as response:
                data = await response.read()
            return msgspec.json.decode(data, type=shape, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
            raise self.upstream.unreadable(question, data, trouble) from None
        except TimeoutError:
            raise self.upstream.silent(question, self._silence) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self.upstream.broke_off(question, "in the middle of the answer") from error

    async def stream(self, path: str, body: Any, read: Callable[[bytes], Shape]) -> AsyncGenerator[list[Shape], None]:
        """The server-sent events that each read from the socket completes, as `read` understands their data. It is left
        when the reply is over: a stream that the server ends first is a failure. Leaving it closes the connection,
        which is what tells the server to stop."""
        if self._broken:
            await self._back()
        question = f"POST {path}"
        response, rest = await self.open("POST", path, body, once=True), b""
        began, first = False, b""
        try:
            while data := await response.content.readany():
                *lines, rest = (rest + data).split(b"\n")
                if events := _events(lines):
                    began = True
                    yield [self._read(question, event, read) for event in events]
                elif not began and len(first) < _SHOWN:
                    first += data
            if not began and not self.upstream.own:
                raise self.upstream.unreadable(question, first)
            raise self.upstream.broke_off(question, "before the reply was over", self._why())
        except TimeoutError:
            raise self.upstream.silent(question, self._silence) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self.upstream.broke_off(question, "in the middle of the reply", self._why()) from error
        finally:
            response.close()

    def _read(self, question: str, event: bytes, read: Callable[[bytes], Shape]) -> Shape:
        try:
            return read(event)
        except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
            raise self.upstream.unreadable(question, event, trouble) from None
        except Told as told:
            raise self.upstream.told(question, told.error) from None

    def _why(self) -> str:
        """What a server that closed the connection has said of its end, if it has."""
        self._broken = True
        with contextlib.suppress(OSError):
            return self._cause.read_text("utf-8") if self._cause else ""
        return ""

    async def _back(self) -> None:
        """Wait until a server that broke off answers. One that is about to end may still take a request, and then that
        would be lost with it; a question may be lost."""
        with contextlib.suppress(BadRequest, EngineFailed):  # which it answered, too
            (await self.open("GET", "/health")).release()
        self._broken = False

    async def health(self, path: str = "/health") -> Health:
        """Whether the server says that it is well."""
        try:
            async with self._session().get(self.url + path, timeout=aiohttp.ClientTimeout(total=3)) as response:
                return Health(response.status == 200, f"{self.upstream} answers {response.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Health(False, f"{self.upstream} does not answer: {error or type(error).__name__}")

    async def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()


def _events(lines: list[bytes]) -> list[bytes]:
    events = [line[6:] for line in lines if line.startswith(b"data: {")]
    # Older llama.cpp servers report a failure in a line of its own kind.
    events.extend(b'{"error":' + line[7:] + b"}" for line in lines if line.startswith(b"error: {"))
    return events
