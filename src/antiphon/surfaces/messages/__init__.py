"""The Messages API: POST /v1/messages and /v1/messages/count_tokens.

What happens to a request reads from top to bottom in `_create`: read, fetch, decode, prepare, then tell the reply
as a stream or whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from functools import partial

import msgspec

from antiphon.errors import BadRequest, Failure, Internal
from antiphon.events import AnyEvent, Fold, Reply, Usage
from antiphon.service import Prepared, Service
from antiphon.surfaces import remote, sse
from antiphon.surfaces.exchange import Exchange
from antiphon.surfaces.messages import caching, decode, encode, failures, wire
from antiphon.surfaces.messages.seal import Seal
from antiphon.surfaces.messages.server_tools import Unavailable
from antiphon.surfaces.surface import Options, Route, Surface

_SESSION = re.compile(r"session_([0-9A-Za-z-]{8,})$")
_HEADER_SAFE = re.compile(r"[^A-Za-z0-9_.-]")
# Reading a large body or a PDF would hold up every other stream of the worker.
_LARGE = 512 * 1024


class _Told:
    """The reply to one request, as `sse` wants it told."""

    ping = encode.PING

    def __init__(self, style: encode.Style, prepared: Prepared, request_id: str) -> None:
        self._encoder = encode.Encoder(style)
        self._prepared = prepared
        self._request_id = request_id

    @property
    def finished(self) -> bool:
        return self._encoder.finished

    def opening(self) -> bytes:
        return self._encoder.start(self._prepared.usage)

    def batch(self, events: list[AnyEvent]) -> bytes:
        return self._encoder.batch(events)

    def failure(self, failure: Failure) -> bytes:
        return b"event: error\ndata: " + failures.body(failure, self._request_id) + b"\n\n"


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    request: wire.Request
    asked: decode.Asked
    session: str | None
    text: str


class _Messages:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options
        self._seal = Seal(options.seal_key)

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/messages", answer=self._create),
            Route(method="POST", path="/messages/count_tokens", answer=self._count),
        ]

    async def _create(self, exchange: Exchange) -> None:
        whole = await self._read(exchange, counting=False)
        request, asked = whole.request, whole.asked
        id, probing = self._options.new_id("msg_"), request.diagnostics
        prepared = await self._service.prepare(
            request.model,
            asked.conversation,
            asked.generation,
            session=whole.session,
            message=id if probing else None,
            previous=probing.previous_message_id if probing else None,
        )
        exchange.notes += [f"model={request.model}", f"stream={str(bool(request.stream)).lower()}"]
        style = encode.Style(
            id=id,
            model=request.model,
            seal=self._seal,
            withheld=asked.withheld,
            context_management=not isinstance(request.context_management, msgspec.UnsetType),
            members=asked.members,
            diagnostics=caching.diagnostics(prepared.miss) if probing else None,
            hour=asked.hour,
        )
        if asked.server_tool:
            await self._unavailable(exchange, style, whole, asked.server_tool, prepared.prompt_tokens)
        elif request.stream:
            telling = _Told(style, prepared, exchange.request_id)
            await sse.send(
                exchange,
                self._service.run(prepared),
                telling,
                first_wait=self._options.first_wait,
                interval=self._options.ping_interval,
            )
        elif request.max_tokens == 0:
            usage = await sse.unless_gone(exchange, self._warm(prepared))
            await exchange.reply(200, encode.whole_of(style, [], usage, "max_tokens"))
        else:
            reply = await sse.unless_gone(exchange, self._folded(prepared))
            await exchange.reply(200, encode.whole(style, reply))

    async def _count(self, exchange: Exchange) -> None:
        whole = await self._read(exchange, counting=True)
        tokens = await self._service.count(whole.request.model, whole.asked.conversation, whole.asked.generation)
        counted: dict[str, object] = {"input_tokens": tokens}
        if not isinstance(whole.request.context_management, msgspec.UnsetType):
            counted["context_management"] = {"original_input_tokens": tokens}
        await exchange.reply(200, msgspec.json.encode(counted))

    async def _read(self, exchange: Exchange, *, counting: bool) -> _Asked:
        _check_headers(exchange, version_optional=self._options.version_optional)
        body = await exchange.body(self._options.max_body)
        heavy = len(body) > _LARGE or b'"document"' in body
        draft = await asyncio.to_thread(decode.read, body) if heavy else decode.read(body)
        request = draft.request
        if not counting:
            _check_length(request)
        card = self._service.card(request.model)
        addresses = decode.wanted(draft, card) if b'"url"' in body else {}
        fetched = await remote.fetch(addresses, allow_private=self._options.allow_private_urls)
        reading = partial(decode.asked, draft, card, self._seal, fetched)
        asked = await asyncio.to_thread(reading) if heavy else reading()
        if asked.ignored:
            exchange.extra.append((b"antiphon-ignored", _listed(asked.ignored)))
        session = _session(exchange, request)
        return _Asked(request=request, asked=asked, session=session, text=decode.last_text(draft))

    async def _folded(self, prepared: Prepared) -> Reply:
        folding = Fold()
        async with contextlib.aclosing(self._service.run(prepared)) as batches:
            async for events in batches:
                for event in encode.worth_telling(events):
                    folding.add(event)
        try:
            return folding.reply()
        except ValueError:
            raise Internal("the reply broke off") from None

    async def _warm(self, prepared: Prepared) -> Usage:
        """Have the prompt computed, and nothing more."""
        async with contextlib.aclosing(self._service.run(prepared)) as batches:
            async for events in batches:
                for event in events:
                    usage: Usage | None = getattr(event, "usage", None)
                    if usage is not None:
                        return msgspec.structs.replace(usage, output=0, thinking=0)
        raise Internal("the engine gave no answer")

    async def _unavailable(
        self, exchange: Exchange, style: encode.Style, whole: _Asked, tool: tuple[str, str], tokens: int
    ) -> None:
        usage = Usage(prompt=tokens)
        answer = Unavailable(style, tool, whole.text, self._options.new_id("srvtoolu_"), usage)
        if whole.request.stream:
            await exchange.open(sse.HEADERS)
            await exchange.write(answer.frames(), more=False)
        else:
            await exchange.reply(200, answer.whole())


def _check_headers(exchange: Exchange, *, version_optional: bool) -> None:
    if not version_optional and not exchange.header("anthropic-version"):
        raise BadRequest("anthropic-version: header is required")
    media_type = (exchange.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise BadRequest("content-type: the body of a request must be application/json")


def _check_length(request: wire.Request) -> None:
    if request.max_tokens is None:
        raise BadRequest("max_tokens: Field required")
    if request.max_tokens == 0 and request.stream:
        raise BadRequest("max_tokens: 0 only warms the cache and cannot be streamed")


def _session(exchange: Exchange, request: wire.Request) -> str | None:
    """The conversation a request belongs to, as far as the client tells: from its header or its user id."""
    told = exchange.header("x-claude-code-session-id")
    if told:
        return told[:256]
    user = request.metadata.user_id if request.metadata else None
    if not user:
        return None
    if user.startswith("{"):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            inside = msgspec.json.decode(user.encode("utf-8", "replace"))
            session = inside.get("session_id") if isinstance(inside, dict) else None
            return session[:256] if isinstance(session, str) and session else None
        return None
    found = _SESSION.search(user)
    return found[1][:256] if found else None


def _listed(names: tuple[str, ...]) -> bytes:
    return ", ".join(_HEADER_SAFE.sub("?", name)[:80] for name in names[:30]).encode()


def _routes(service: Service, options: Options) -> list[Route]:
    return _Messages(service, options).routes()


SURFACE = Surface(name="messages", routes=_routes, envelope=failures.envelope)
