"""What every engine that is attached by URL shares: the session, patience with a server that starts, server-sent
events, and what a failure means.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from antiphon.api.errors import BadRequest, EngineFailed, EngineLost, Failure, Overloaded, TimedOut
from antiphon.engines import Health, Reach

_RETRY_AFTER = 5.0
_LONGEST_REASON = 500


class Attached:
    """The HTTP server of an engine at `url`."""

    def __init__(self, url: str, reach: Reach) -> None:
        self.url = url.rstrip("/")
        self._headers = {"content-type": "application/json"}
        if reach.key:
            self._headers["authorization"] = f"Bearer {reach.key}"
        self._silence = reach.silence
        self._patience = reach.patience
        self._cause = Path(reach.cause) if reach.cause else None
        self._broken = False
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def _session(self, *, fresh: bool = False) -> aiohttp.ClientSession:
        """The session, or the one whose every request has a connection of its own."""
        if fresh not in self._sessions:
            self._sessions[fresh] = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=self._silence),
                headers=self._headers,
                connector=aiohttp.TCPConnector(limit=0, force_close=fresh),
            )
        return self._sessions[fresh]

    async def open(self, method: str, path: str, body: Any = None, *, once: bool = False) -> aiohttp.ClientResponse:
        """A response whose status is good. Waits for a server that is not there yet. What is sent `once` is not sent
        again to a server that was reached and then lost: EngineLost."""
        data = None if body is None else msgspec.json.encode(body)
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                # A kept connection may be of a server that is gone; only a fresh one tells that this one was reached.
                response = await self._session(fresh=once).request(method, self.url + path, data=data)
            except aiohttp.SocketTimeoutError:
                raise self._silent() from None
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if once and not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                    raise EngineLost(self._broke_off("before it answered; the request is not sent again")) from error
                reason = str(error) or type(error).__name__
                problem: Exception = Overloaded(f"the engine does not answer: {reason}", retry_after=_RETRY_AFTER)
            else:
                if response.status < 300:
                    return response
                async with response:
                    reason = message(await response.read())
                    problem = _meant(response.status, reason) or EngineFailed(
                        f"the engine failed ({response.status}): {reason}"
                    )
            if not isinstance(problem, Overloaded) or asyncio.get_running_loop().time() > deadline:
                raise problem
            await asyncio.sleep(0.25)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What a JSON route answers."""
        async with await self.open(method, path, body) as response:
            return msgspec.json.decode(await response.read())

    async def stream(self, path: str, body: Any) -> AsyncGenerator[list[bytes], None]:
        """The data of the server-sent events that each read from the socket completes. It is left when the reply is
        over: a stream that the server ends first is a failure. Leaving it closes the connection, which is what tells
        the server to stop."""
        if self._broken:
            await self._back()
        response, rest = await self.open("POST", path, body, once=True), b""
        try:
            while data := await response.content.readany():
                *lines, rest = (rest + data).split(b"\n")
                if events := _events(lines):
                    yield events
            raise EngineFailed(self._broke_off("before the reply was over"))
        except TimeoutError:
            raise self._silent() from None
        except (aiohttp.ClientError, OSError) as error:
            raise EngineFailed(self._broke_off("in the middle of the reply")) from error
        finally:
            response.close()

    def _broke_off(self, when: str) -> str:
        """What there is to say of a server that closed the connection."""
        self._broken, cause = True, ""
        with contextlib.suppress(OSError):
            cause = self._cause.read_text("utf-8") if self._cause else ""
        return f"the engine broke off {when}" + (f": {cause}" if cause else "")

    async def _back(self) -> None:
        """Wait until a server that broke off answers. One that is about to end may still take a request, and then that
        would be lost with it; a question may be lost."""
        with contextlib.suppress(BadRequest, EngineFailed):  # which it answered, too
            (await self.open("GET", "/health")).release()
        self._broken = False

    def _silent(self) -> TimedOut:
        return TimedOut(f"the engine said nothing for {self._silence:g} seconds")

    async def health(self, name: str, path: str = "/health") -> Health:
        """Whether the server called `name` says that it is well."""
        try:
            async with self._session().get(self.url + path, timeout=aiohttp.ClientTimeout(total=3)) as response:
                return Health(response.status == 200, f"{name} answers {response.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Health(False, f"{name} does not answer: {error or type(error).__name__}")

    async def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            await session.close()


def _events(lines: list[bytes]) -> list[bytes]:
    events = [line[6:] for line in lines if line.startswith(b"data: {")]
    # Older llama.cpp servers report a failure in a line of its own kind.
    events.extend(b'{"error":' + line[7:] + b"}" for line in lines if line.startswith(b"error: {"))
    return events


def failed(error: Any) -> Failure:
    """What an error told within a stream means, by the status that it tells with it."""
    status = error.get("code", error.get("status_code")) if isinstance(error, dict) else None
    reason = message(error)
    return _meant(status, reason) or EngineFailed(f"the engine broke off: {reason}")


def _meant(status: Any, reason: str) -> Failure | None:
    """What a status says of the request or of the engine's load; None where it only says that the engine failed."""
    if status in (429, 503, 529):
        return Overloaded(f"the engine is not ready: {reason}", retry_after=_RETRY_AFTER)
    if status == 504:
        return TimedOut(f"the engine did not answer in time: {reason}")
    if status in (400, 413, 422):
        return BadRequest(f"the engine refused the request: {reason}")
    return None


def message(body: bytes | Any) -> str:
    """The sentence in a server's error body, whichever of the shapes in use it has."""
    found = body
    if isinstance(body, bytes):
        try:
            found = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return body[:_LONGEST_REASON].decode(errors="replace")
    while isinstance(found, dict) and (inner := next((found[key] for key in _NESTED if found.get(key)), None)):
        found = inner
    return (found if isinstance(found, str) else str(found))[:_LONGEST_REASON] or "unknown error"


# `{"error": {"message"}}` (llama.cpp, vLLM, SGLang), `{"message"}` (LMDeploy, older SGLang), `{"detail"}` (FastAPI).
_NESTED = ("error", "message", "detail")
