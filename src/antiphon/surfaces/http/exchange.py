"""One HTTP exchange: a request being read and its response being written, over plain ASGI.

It knows bytes, headers and limits, and nothing of any API. Failures are raised; whoever serves the exchange
puts them in an envelope.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from starlette.types import Receive, Send

from antiphon.api.errors import BadRequest, TooLarge
from antiphon.batches.worker import INSIDE, Origin
from antiphon.observability.request_watch import Watch
from antiphon.surfaces.http.charge import Charge

Headers = Iterable[tuple[bytes, bytes]]

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 47}
_DROPPING, _MOST_DROPPED = 1.0, 1024
"""For how many seconds, and how many messages, the rest of a body that was refused is taken in."""


class ClientGone(Exception):
    """The client closed the connection; nobody is left to answer."""


class Exchange:
    """A request and the response to it. `extra` headers go out with whatever response is sent; `status` is 0 until one
    is; `facts` are what the surface wants said of the request in its line of the log. `late` gives headers known
    only when the head is sent. `wildcards` are what stands in the path for each `*` of the route. When `leaving` is
    done the server is about to end. A request of a `batch` has nobody who waits for it."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, request_id: str) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        # ASGI: the path begins with where the application is mounted.
        self.path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        self.wildcards: tuple[str, ...] = ()
        self.anthropic = False
        self.batch: Origin | None = scope.get(INSIDE)
        self.request_id = request_id
        # Clients of either API look for the id under their own name.
        self.extra: list[tuple[bytes, bytes]] = [
            (b"request-id", request_id.encode()),
            (b"x-request-id", request_id.encode()),
        ]
        self.status = 0
        self.facts: dict[str, Any] = {}
        self.watch = Watch(request_id)
        self.charge = Charge(None, self.watch)
        self.late: Callable[[], Headers] = tuple
        self.leaving: asyncio.Future[None] | None = None
        self._receive = receive
        self._send = send
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])

    @property
    def rest(self) -> str:
        """What stands in the path for the route's `*`, the first where there are several."""
        return self.wildcards[0] if self.wildcards else ""

    def header(self, name: str) -> str | None:
        """A request header, several lines of it joined by commas, or none."""
        encoded = name.encode()
        values = [value.decode("latin-1") for key, value in self._headers if key == encoded]
        return ",".join(values) if values else None

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers; of a repeated one, the last."""
        return {key.decode("latin-1"): value.decode("latin-1") for key, value in self._headers}

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters; of a repeated one, the last."""
        return dict(parse_qsl(self.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))

    @property
    def queries(self) -> dict[str, list[str]]:
        """The query's parameters, each with all that it is given."""
        return parse_qs(self.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)

    @property
    def betas(self) -> list[str]:
        """The betas of the Messages API that the client asks for."""
        return [name.strip() for name in (self.header("anthropic-beta") or "").split(",")]

    @property
    def started(self) -> bool:
        """Whether the response's head has been sent, so that no other status can be."""
        return self.status > 0

    async def body(self, limit: int) -> bytes:
        """The request's body, decompressed. Refused as soon as it is known to exceed `limit` bytes."""
        encoding = (self.header("content-encoding") or "identity").strip().lower()
        if encoding not in _WINDOW_BITS and encoding != "identity":
            raise BadRequest(
                f"content-encoding {encoding!r} is not supported: send the body plain, or as gzip or deflate",
                code="request_body_encoding_unsupported",
            )
        declared = self.header("content-length") or ""
        if declared.isdecimal() and len(declared) < 20 and int(declared) > limit:
            await self._drop_rest()
            raise _too_large(limit)
        chunks = [chunk async for chunk in self._received(limit)]
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        return whole if encoding == "identity" else _inflated(whole, encoding, limit)

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The request's body as it comes. Refused as soon as it is known to exceed `limit` bytes."""
        declared = self.header("content-length") or ""
        if declared.isdecimal() and (len(declared) > 19 or int(declared) > limit):
            await self._drop_rest()
            raise _too_large(limit)
        async for chunk in self._received(limit):
            yield chunk

    async def _received(self, limit: int) -> AsyncIterator[bytes]:
        size, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            size += len(chunk)
            more = message.get("more_body", False)
            if size > limit:
                if more:
                    await self._drop_rest()
                raise _too_large(limit)
            yield chunk

    async def _drop_rest(self) -> None:
        """Take in what of the body is on its way: a connection that is closed with bytes unread is reset, and the
        client may never see why it was refused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DROPPING):
                for _ in range(_MOST_DROPPED):
                    if not (await self._receive()).get("more_body", False):
                        return

    async def disconnected(self) -> None:
        """Return when the client has closed the connection. Only after the body has been read."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return

    async def reply(
        self, status: int, body: bytes = b"", headers: Headers = (), media_type: bytes = b"application/json"
    ) -> None:
        """Send a whole response."""
        lines = [*headers, *self.extra, *self.late(), *self._cleared()]
        if self.watch.first is not None:
            lines.append((b"server-timing", self.watch.server_timing()))
        if body:
            lines.append((b"content-type", media_type))
        if status not in (204, 304):
            lines.append((b"content-length", str(len(body)).encode()))
        self.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": lines})
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def open(self, headers: Headers) -> None:
        """Send the head of a response whose body follows in pieces."""
        self.status = 200
        lines = [*headers, *self.extra, *self.late(), *self._cleared()]
        if self.watch.tokenised is not None:
            lines.append((b"server-timing", self.watch.server_timing()))
        await self._send({"type": "http.response.start", "status": 200, "headers": lines})

    def _cleared(self) -> Headers:
        """What was cleared of the prompt although the client asked for no edits."""
        return [
            (b"antiphon-cleared", b"%d tool results, %d tokens" % (edit.count, edit.tokens))
            for edit in self.watch.cleared
        ]

    def write(self, chunk: bytes, more: bool = True) -> Awaitable[None]:
        """Send a piece of the body."""
        return self._send({"type": "http.response.body", "body": chunk, "more_body": more})


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"Request exceeds the maximum size: the limit is {limit} bytes")


def _inflated(body: bytes, encoding: str, limit: int) -> bytes:
    # 47 tells zlib to recognise its own header; raw deflate, which some clients send by that name, has none.
    raw = encoding == "deflate" and body[:1] and body[0] & 0x0F != 8
    inflater = zlib.decompressobj(-15 if raw else _WINDOW_BITS[encoding])
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as trouble:
        raise BadRequest(
            f"the request body is not valid {encoding}: {trouble}", code="request_body_encoding_invalid"
        ) from None
    if len(plain) > limit:
        raise TooLarge(
            f"Request exceeds the maximum size: the limit is {limit} bytes after decoding",
            code="request_body_too_large_after_decoding",
        )
    if not inflater.eof:
        raise BadRequest(f"the request body is not valid {encoding}: cut short", code="request_body_encoding_invalid")
    return plain
