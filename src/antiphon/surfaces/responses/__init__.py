"""The Responses API: POST /v1/responses, and what belongs to it.

It shares every stage with the Messages API but decode and encode. What happens to a request reads from top to bottom in
`_create`: read, fetch, decode, prepare, then tell the reply as a stream or whole.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from antiphon.api.errors import Failure
from antiphon.api.events import AnyEvent
from antiphon.api.offload import LARGE, offload
from antiphon.api.seal import Seal
from antiphon.serving.service import Prepared, Service
from antiphon.surfaces.content import remote
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type, tell_ignored
from antiphon.surfaces.openai import failures
from antiphon.surfaces.responses import decode, encode, items, sent, tools, wire
from antiphon.surfaces.surface import Operation, Options, Route, Surface


class _StreamEncoder:
    """The reply to one request, as `sse` wants it told."""

    ping = encode.PING

    def __init__(self, style: encode.Style) -> None:
        self._encoder = encode.Encoder(style)

    @property
    def finished(self) -> bool:
        return self._encoder.finished

    def opening(self) -> bytes:
        return self._encoder.start()

    def batch(self, events: list[AnyEvent]) -> bytes:
        return self._encoder.batch(events)

    def failure(self, failure: Failure) -> bytes:
        return self._encoder.failure(failure)


class _Responses:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options
        self._seal = Seal(options.seal_key)

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/responses", answer=self._create, operation=_CREATE),
            Route(method="POST", path="/responses/input_tokens", answer=self._count, operation=_COUNT),
        ]

    async def _create(self, exchange: Exchange) -> None:
        draft, decoded = await self._read(exchange)
        request = draft.request
        exchange.facts |= {"model": request.model, "stream": bool(request.stream)}
        prepared = await self._prepare(draft, decoded)
        style = self._style(draft, decoded)
        run = partial(self._service.run, prepared)
        if request.stream:
            await sse.send(
                exchange,
                run,
                _StreamEncoder(style),
                first_wait=self._options.first_wait,
                interval=self._options.ping_interval,
            )
        else:
            reply = await sse.whole(exchange, run)
            await exchange.reply(200, msgspec.json.encode(encode.whole(style, reply)))

    async def _count(self, exchange: Exchange) -> None:
        draft, decoded = await self._read(exchange)
        tokens = await self._service.count(draft.request.model, decoded.conversation, decoded.generation)
        await exchange.reply(200, msgspec.json.encode(sent.Counted(input_tokens=tokens)))

    async def _read(self, exchange: Exchange) -> tuple[decode.Draft, decode.DecodedRequest]:
        check_media_type(exchange)
        body = await exchange.body(self._options.max_body)
        # A PDF takes its time, however short it is.
        large = len(body) > LARGE or b'"input_file"' in body
        draft = await offload(large, partial(decode.read, body))
        card = self._service.card(draft.request.model)
        fetched = await remote.fetch(decode.wanted(draft, card), allow_private=self._options.allow_private_urls)
        decoded = await offload(large, partial(decode.decode, draft, card, self._seal, fetched))
        tell_ignored(exchange, decoded.ignored)
        return draft, decoded

    async def _prepare(self, draft: decode.Draft, decoded: decode.DecodedRequest) -> Prepared:
        key = draft.request.prompt_cache_key
        return await self._service.prepare(
            draft.request.model, decoded.conversation, decoded.generation, session=key[:256] if key else None
        )

    def _style(self, draft: decode.Draft, decoded: decode.DecodedRequest) -> encode.Style:
        new_id = self._options.new_id
        return encode.Style(
            id=new_id("resp_"),
            created=int(self._options.clock()),
            clock=self._options.clock,
            echo=decode.echo(draft),
            items=items.Style(
                new_id=new_id,
                seal=self._seal,
                shapes=decoded.shapes,
                summary=decode.summarised(draft.request),
                sealed=decode.SEALED in (draft.request.include or ()),
            ),
        )


def _routes(service: Service, options: Options) -> list[Route]:
    return _Responses(service, options).routes()


_CREATE = Operation(
    summary="A reply, whole or as a stream",
    description="A stream is server-sent events, each with its name and a `sequence_number`: `response.created`, "
    "`response.in_progress`, then for each item `response.output_item.added`, what is in it, and "
    "`response.output_item.done`, then `response.completed` or `response.incomplete`. A failure within it is "
    "`response.failed`, and the end.",
    body=wire.Request,
    replies={"application/json": sent.Response, "text/event-stream": sent.Event},
)
_COUNT = Operation(
    summary="The tokens of a prompt",
    description="What the same request for a reply would report as its input tokens.",
    body=wire.Request,
    replies={"application/json": sent.Counted},
)
_ITEM: dict[str, Any] = {
    "description": "An item of any type; what the model cannot use of it is told in words.",
    "type": "object",
    "properties": {"type": {"type": "string"}},
}
SURFACE = Surface(
    name="responses",
    routes=_routes,
    envelope=failures.envelope("input"),
    failure=failures.Error,
    statuses=failures.STATUSES,
    types={"Item": Annotated[Raw, Meta(extra_json_schema=_ITEM)], "Tool": tools.DeclaredTool},
)
