"""What every engine that is attached by URL shares: the session, patience with a server that starts, answers of a known
shape, and server-sent events. What a failure means, `upstream` says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import yarl

from antiphon.api.errors import BadRequest, EngineFailed, Overloaded
from antiphon.engines import Health, Reach
from antiphon.engines.event_stream import EventStream
from antiphon.engines.upstream import Busy, ReportedFailure, Upstream

Shape = TypeVar("Shape")
Answer = TypeVar("Answer")
_LEAST_PATIENCE = 10.0


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
        self._kept_session: aiohttp.ClientSession | None = None
        shown = str(yarl.URL(self.url).with_user(None).with_query(None))
        self.upstream = Upstream(name, shown.rstrip("/"), own=bool(reach.cause))

    def _session(self) -> aiohttp.ClientSession:
        if self._kept_session is None:
            self._kept_session = aiohttp.ClientSession(headers=self._headers, connector=aiohttp.TCPConnector(limit=0))
        return self._kept_session

    async def open(self, method: str, path: str, body: Any = None, *, patient: bool = True) -> aiohttp.ClientResponse:
        """A response whose status is good. Waits for a server that is not there yet, where it is `patient`."""
        return await self._patiently(partial(self._answer, method, path, body), patient)

    async def _patiently(self, ask: Callable[[], Awaitable[Answer]], patient: bool) -> Answer:
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                return await ask()
            except Overloaded as overloaded:
                pause = overloaded.pause if isinstance(overloaded, Busy) else 0.0
                if not patient or asyncio.get_running_loop().time() + pause > deadline:
                    raise
                await asyncio.sleep(max(pause, 0.25))

    async def _answer(self, method: str, path: str, body: Any) -> aiohttp.ClientResponse:
        """What comes of asking one time."""
        question = f"{method} {path}"
        data = None if body is None else msgspec.json.encode(body)
        # What is not worked on is answered at once, or not at all.
        silence = min(self._silence, max(self._patience, _LEAST_PATIENCE)) if body is None else self._silence
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence)
        try:
            response = await self._session().request(method, self.url + path, data=data, timeout=timeout)
            if response.status < 300:
                return response
            async with response:
                retry_after = response.headers.get("retry-after", "")
                raise self.upstream.answered(question, response.status, await response.read(), retry_after)
        except aiohttp.SocketTimeoutError:
            raise self.upstream.silent(question, silence) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.upstream.absent(question, error) from error

    async def _post(self, path: str, body: Any) -> EventStream:
        """What comes of asking for a stream one time, on a connection of its own: a kept one may be of a server that is
        gone, and only a fresh one tells that this server was reached. One that was reached and then lost is not asked
        again: EngineLost."""
        question, answer = f"POST {path}", EventStream(self._silence)
        try:
            try:
                await answer.post(yarl.URL(self.url + path), self._headers, msgspec.json.encode(body))
            except OSError as error:
                raise self.upstream.absent(question, error) from error
            if (status := await answer.status()) >= 300:
                raise self.upstream.answered(question, status, await answer.text(), answer.retry_after)
        except BaseException as error:
            answer.close()
            if isinstance(error, TimeoutError):
                raise self.upstream.silent(question, self._silence) from None
            if isinstance(error, OSError):
                raise self.upstream.lost(question, self._why()) from error
            raise
        return answer

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

    async def stream(
        self, path: str, body: Any, read: Callable[[bytes], Shape], patient: bool = True
    ) -> AsyncGenerator[list[Shape], None]:
        """The server-sent events that each read from the socket completes, as `read` understands their data. It is left
        when the reply is over: a stream that the server ends first is a failure. Leaving it closes the connection,
        which is what tells the server to stop. Where it is not `patient`, the server has been waited for already."""
        if self._broken:
            await self._back(patient)
        question = f"POST {path}"
        answer, began = await self._patiently(partial(self._post, path, body), patient), False
        try:
            while events := await answer.events():
                began = True
                yield self._understood(question, events, read)
            if not began and not self.upstream.own:
                raise self.upstream.unreadable(question, answer.opening)
            raise self.upstream.broke_off(question, "before the reply was over", self._why())
        except TimeoutError:
            raise self.upstream.silent(question, self._silence) from None
        except OSError as error:
            raise self.upstream.broke_off(question, "in the middle of the reply", self._why()) from error
        finally:
            answer.close()

    def _understood(self, question: str, events: list[bytes], read: Callable[[bytes], Shape]) -> list[Shape]:
        try:
            return [read(event) for event in events]
        except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
            raise self.upstream.unreadable(question, b"\n".join(events), trouble) from None
        except ReportedFailure as told:
            raise self.upstream.failure_of(question, told.error) from None

    def _why(self) -> str:
        """What a server that closed the connection has said of its end, if it has."""
        self._broken = True
        with contextlib.suppress(OSError):
            return self._cause.read_text("utf-8") if self._cause else ""
        return ""

    async def _back(self, patient: bool) -> None:
        """Wait until a server that broke off answers. One that is about to end may still take a request, and then that
        would be lost with it; a question may be lost."""
        with contextlib.suppress(BadRequest, EngineFailed):  # which it answered, too
            (await self.open("GET", "/health", patient=patient)).release()
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
        if self._kept_session:
            await self._kept_session.close()
