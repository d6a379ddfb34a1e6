"""The Responses API: POST /v1/responses, and what belongs to it.

It shares every stage with the Messages API but decode and encode. What happens to a request reads from top to bottom in
`_create`: read, fetch, decode, prepare, then tell the reply as a stream or whole.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import BadRequest, NotKept, PromptTooLong
from antiphon.api.events import AnyEvent, Emit, Finished, Run
from antiphon.api.offload import LARGE, offload
from antiphon.api.seal import Seal
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import Rounds
from antiphon.serving.service import Prepared, Service
from antiphon.surfaces.content import remote
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type, tell_ignored
from antiphon.surfaces.openai import failures
from antiphon.surfaces.responses import decode, encode, items, sent, tools, wire
from antiphon.surfaces.responses.background import Background
from antiphon.surfaces.responses.kept import KeptResponse, KeptResponses
from antiphon.surfaces.responses.stored import StoredResponses
from antiphon.surfaces.responses.streaming import StreamEncoder, relay
from antiphon.surfaces.responses.tables import ResponseTables
from antiphon.surfaces.responses.truncation import shortened
from antiphon.surfaces.responses.whole import Style, response, whole
from antiphon.surfaces.surface import Operation, Options, Route, Surface

log = logging.getLogger("antiphon.http")


class _Responses:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options
        self._seal = Seal(options.seal_key)
        self._kept = KeptResponses(ResponseTables(options.store))
        self._background = Background(self._kept, options.leaving)

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/responses", answer=self._create, operation=_CREATE),
            Route(method="POST", path="/responses/input_tokens", answer=self._count, operation=_COUNT),
            *StoredResponses(self._kept, self._background, self._options.ping_interval).routes(),
        ]

    async def _create(self, exchange: Exchange) -> None:
        draft, decoded = await self._read(exchange)
        request = draft.request
        exchange.facts |= {"model": request.model, "stream": bool(request.stream)}
        conversation, prepared = await self._fitted(draft, decoded)
        style = self._style(draft, decoded)
        run = self._run(exchange, draft, decoded, conversation, prepared)
        if request.background:
            await self._begin(exchange, draft, style, run)
        elif request.stream:
            encoder = StreamEncoder(style)
            await sse.send(
                exchange,
                self._keeping(exchange, draft, encoder, run) if style.echo.store else run,
                encoder,
                first_wait=self._options.first_wait,
                interval=self._options.ping_interval,
            )
        else:
            made = whole(style, await sse.whole(exchange, run))
            if style.echo.store:
                made.store = await self._try_keeping(exchange, draft, made)
            await exchange.reply(200, msgspec.json.encode(made))

    async def _begin(self, exchange: Exchange, draft: decode.Draft, style: Style, run: Run) -> None:
        """Have a response made in the background, and say that it is, or stream it as long as the client listens."""
        if not style.echo.store:
            raise BadRequest("background: a response in the background must be stored; leave store out")
        begun = response(style, "in_progress", [])
        await self._keep(exchange, draft, begun)
        self._background.begin(style.id, run, encode.Encoder(style))
        if draft.request.stream:
            frames = self._background.follow(style.id, exchange.watch.key, 0)
            await relay(exchange, frames, 0, interval=self._options.ping_interval)
        else:
            await exchange.reply(200, msgspec.json.encode(begun))

    def _keeping(self, exchange: Exchange, draft: decode.Draft, encoder: StreamEncoder, run: Run) -> Run:
        """The same, with the response kept before its end is told: a client that goes on from it at once finds it."""

        async def kept(emit: Emit) -> None:
            async def passing(batch: list[AnyEvent]) -> None:
                if isinstance(batch[-1], Finished) and (made := encoder.encode_ahead(batch)):
                    await self._try_keeping(exchange, draft, made)
                await emit(batch)

            await run(passing)

        return kept

    async def _try_keeping(self, exchange: Exchange, draft: decode.Draft, made: sent.Response) -> bool:
        """Keep a response, if the store takes it; a client that has its reply must not lose it with the disk."""
        try:
            await self._keep(exchange, draft, made)
        except NotKept as failure:
            log.warning("%s is not kept: %s", made.id, failure.message)
            return False
        return True

    async def _keep(self, exchange: Exchange, draft: decode.Draft, made: sent.Response) -> None:
        record = KeptResponse(
            id=made.id,
            previous=draft.request.previous_response_id,
            status=made.status,
            items=decode.own_items(draft),
            response=msgspec.json.encode(made),
        )
        await self._kept.keep(record, exchange.watch.key)

    async def _count(self, exchange: Exchange) -> None:
        draft, decoded = await self._read(exchange)
        tokens = await self._service.count(draft.request.model, decoded.conversation, decoded.generation)
        await exchange.reply(200, msgspec.json.encode(sent.Counted(input_tokens=tokens)))

    async def _read(self, exchange: Exchange) -> tuple[decode.Draft, decode.DecodedRequest]:
        check_media_type(exchange)
        body = await exchange.body(self._options.max_body)
        # A PDF takes its time, however short it is.
        large = len(body) > LARGE or b'"input_file"' in body
        offered = self._options.server_tools.for_key(exchange.watch.key)
        draft = await offload(large, partial(decode.read, body, offered))
        if draft.request.previous_response_id:
            decode.go_on(draft, await self._kept.chain(draft.request.previous_response_id, exchange.watch.key))
        if (ids := decode.references(draft)) and self._kept.available:
            decode.resolve(draft, await self._kept.items(ids, exchange.watch.key))
        await _ask(draft, offered)
        card = self._service.card(draft.request.model)
        fetched = await remote.fetch(decode.wanted(draft, card), allow_private=self._options.allow_private_urls)
        decoded = await offload(large, partial(decode.decode, draft, card, self._seal, fetched))
        tell_ignored(exchange, decoded.ignored)
        return draft, decoded

    async def _fitted(self, draft: decode.Draft, decoded: decode.DecodedRequest) -> tuple[Conversation, Prepared]:
        """The conversation, as far as it fits, and the request that is prepared with it."""
        conversation, again = decoded.conversation, False
        while True:
            try:
                return conversation, await self._prepare(draft, conversation, decoded.generation, further=again)
            except PromptTooLong as failure:
                shorter = shortened(conversation, failure) if draft.request.truncation == "auto" else None
                if shorter is None:
                    raise
                conversation, again = shorter, True

    async def _prepare(
        self, draft: decode.Draft, conversation: Conversation, wanted: GenerationParams, *, further: bool = False
    ) -> Prepared:
        key = draft.request.prompt_cache_key
        session = key[:256] if key else None
        return await self._service.prepare(draft.request.model, conversation, wanted, session=session, further=further)

    def _run(
        self,
        exchange: Exchange,
        draft: decode.Draft,
        decoded: decode.DecodedRequest,
        conversation: Conversation,
        prepared: Prepared,
    ) -> Run:
        """What generates the response: the model alone, or in rounds with the tools that run here."""
        first, box = partial(self._service.run, prepared), decoded.box
        if not box.served:
            return first
        key, rate_limiter = exchange.watch.key, self._options.rate_limiter
        left = draft.request.max_tool_calls

        async def further(conversation: Conversation, wanted: GenerationParams) -> Run:
            return partial(self._service.run, await self._prepare(draft, conversation, wanted, further=True))

        def allow() -> bool:
            nonlocal left
            if left == 0:
                return False
            left = None if left is None else left - 1
            return rate_limiter is None or rate_limiter.take_call(key)

        rounds = Rounds(
            conversation,
            decoded.generation,
            declared=box.served,
            deferred=box.deferred,
            searchable=box.searchable,
            further=further,
            seal=self._seal,
            bounds=self._options.server_tools.bounds,
            key=key,
            allow=allow,
            note=exchange.watch.called,
        )
        return partial(rounds.run, first)

    def _style(self, draft: decode.Draft, decoded: decode.DecodedRequest) -> Style:
        new_id = self._options.new_id
        return Style(
            id=new_id("resp_"),
            created=int(self._options.clock()),
            clock=self._options.clock,
            echo=decode.echo(draft, stored=draft.request.store is not False and self._kept.available),
            background=bool(draft.request.background),
            items=items.Style(
                new_id=new_id,
                seal=self._seal,
                shapes=decoded.box.shapes,
                served=tools.wire_names(decoded.box),
                definitions=decoded.box.definitions,
                summary=decode.summarised(draft.request),
                sealed=decode.SEALED in (draft.request.include or ()),
            ),
        )


async def _ask(draft: decode.Draft, offered: ServerTools) -> None:
    """Ask the MCP servers that a request names for their tools."""
    servers = draft.box.servers
    if offered.connector is None or not servers:
        return
    entries = [(each.where, each.entry) for each in servers if each.entry is not None]
    toolsets = [(each.where, each.toolset) for each in servers]
    taken = [*draft.box.tools, *draft.box.deferred]
    for declared in await offered.connector.declared(entries, toolsets, taken, offered.bounds.seconds):
        draft.box.serve(declared, "tools")


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
