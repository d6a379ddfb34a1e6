"""The server under test, as a client sees it."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from antiphon_check.events import Event, folded, parsed
from antiphon_check.exchange import Exchange
from antiphon_check.verdict import Failed, Unjudged, expect

VERSION = "2023-06-01"
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
"""The type of error that belongs to each status, by the public documentation of errors."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """Where the server is, what to ask it for, and how many `seconds` it may be silent. `window` is how many tokens the
    model takes; 0: the server says it. `salt` makes prompts that no earlier run has left in the server's cache."""

    url: str
    model: str = "default"
    key: str = ""
    seconds: float = 120.0
    window: int = 0
    salt: str = field(default_factory=lambda: secrets.token_hex(4))


@dataclass
class Stream:
    """A stream that was read to its end."""

    exchange: Exchange
    events: list[Event]

    @property
    def message(self) -> Json:
        """The message that the events fold to."""
        return folded(self.events)


@dataclass
class Server:
    """Sends requests, and keeps every exchange. `control` remembers whether the plainest request works: a server that
    refuses everything has not understood why it should refuse this one."""

    target: Target
    exchanges: list[Exchange] = field(default_factory=list)
    control: dict[str, str] = field(default_factory=dict)

    def request(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, raw: bytes = b""
    ) -> Exchange:
        """One exchange, whatever comes back. Raises Failed where nothing does."""
        exchange = self._begun(method, path, body, headers, raw)
        connection = self._connection()
        try:
            response = self._answer(connection, exchange)
            exchange.body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(exchange, error) from None
        finally:
            connection.close()
        return exchange

    def plain(self, **fields: Any) -> Json:
        """The body of a small request, with these fields besides or in place of its own."""
        body = {"model": self.target.model, "max_tokens": 24, "messages": [{"role": "user", "content": "Say hello."}]}
        return {key: value for key, value in {**body, **fields}.items() if value is not None}

    def message(self, **fields: Any) -> Json:
        """A whole reply. Raises Failed unless it comes with status 200 and as a JSON object that has content."""
        exchange = self.request("POST", "/v1/messages", self.plain(**fields))
        return self.accepted(exchange, "content")

    def accepted(self, exchange: Exchange, *having: str) -> Json:
        """The object of a reply with status 200. Raises Failed unless it is one, with these keys."""
        expect(exchange.status == 200, f"expected status 200, got {exchange.status}{exchange.complaint()}")
        value = exchange.json()
        expect(isinstance(value, dict), "the body is not a JSON object")
        missing = [key for key in having if key not in value]
        expect(not missing, f"the reply has no {missing and missing[0]!r}")
        return dict(value)

    def stream(self, **fields: Any) -> Stream:
        """A streamed reply, read to its end. Raises Failed unless it comes with status 200 and has events."""
        with self.streaming(**fields) as events:
            read = list(events)
        expect(read, "the stream has no events")
        return Stream(self.exchanges[-1], read)

    def streaming(self, **fields: Any) -> Streaming:
        """A stream to read from and to leave: `with server.streaming() as events`."""
        return Streaming(self, self._begun("POST", "/v1/messages", self.plain(**{**fields, "stream": True})))

    def refused(self, exchange: Exchange, *statuses: int) -> None:
        """Raises Failed unless the exchange ended in one of these statuses; Unjudged where the server refuses what is
        right, too. What an error looks like is left to the checks of errors: a server whose envelope is wrong fails
        these, and not every check of what it must refuse."""
        self.works()
        wanted = " or ".join(map(str, statuses))
        complaint = exchange.complaint() if exchange.status >= 400 else ""
        expect(exchange.status in statuses, f"expected status {wanted}, got {exchange.status}{complaint}")

    def works(self) -> None:
        """Raises Unjudged unless the plainest request is answered with a message."""
        if "problem" not in self.control:
            try:
                self.message()
                self.control["problem"] = ""
            except Failed as failure:
                self.control["problem"] = str(failure)
        if self.control["problem"]:
            raise Unjudged(f"the plainest request fails, too: {self.control['problem']}")

    def _begun(
        self, method: str, path: str, body: Any, headers: dict[str, str] | None = None, raw: bytes = b""
    ) -> Exchange:
        payload = raw or (b"" if body is None else json.dumps(body, ensure_ascii=False).encode())
        all_headers = {"anthropic-version": VERSION}
        if payload:
            all_headers["content-type"] = "application/json"
        if self.target.key:
            all_headers["x-api-key"] = self.target.key
        all_headers |= headers or {}
        kept = {name: value for name, value in all_headers.items() if value}
        exchange = Exchange(method, self.target.url.rstrip("/") + path, kept, payload)
        self.exchanges.append(exchange)
        return exchange

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.target.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=self.target.seconds)

    def _answer(self, connection: http.client.HTTPConnection, exchange: Exchange) -> http.client.HTTPResponse:
        parts = urlsplit(exchange.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(exchange.method, path, exchange.sent or None, exchange.request_headers)
        response = connection.getresponse()
        exchange.status = response.status
        exchange.headers = {name.lower(): value for name, value in response.getheaders()}
        return response

    def _broken(self, exchange: Exchange, error: Exception) -> Failed:
        what = f"no answer for {self.target.seconds:g} s" if isinstance(error, TimeoutError) else str(error)
        exchange.problem = what or type(error).__name__
        return Failed(f"the exchange broke off: {exchange.problem}")


class Streaming:
    """The events of a stream, as they come. Leaving closes the connection."""

    def __init__(self, server: Server, exchange: Exchange) -> None:
        self._server, self._exchange = server, exchange
        self._connection = server._connection()

    def __enter__(self) -> Iterator[Event]:
        try:
            response = self._server._answer(self._connection, self._exchange)
            if response.status != 200:
                self._exchange.body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._server._broken(self._exchange, error) from None
        expect(response.status == 200, f"expected status 200, got {response.status}{self._exchange.complaint()}")
        return parsed(self._lines(response))

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[tuple[str, float]]:
        while True:
            try:
                line = response.readline()
            except (OSError, http.client.HTTPException) as error:
                raise self._server._broken(self._exchange, error) from None
            if not line:
                return
            self._exchange.body += line
            yield line.decode("utf-8", "replace").rstrip("\r\n"), time.monotonic()
