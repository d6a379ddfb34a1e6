"""The Responses API: POST /v1/responses, and what belongs to it.

It shares every stage with the Messages API but decode and encode. What happens to a request reads from top to bottom in
`_create`: read, fetch, decode, prepare, then tell the reply as a stream or whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from antiphon.api.errors import BadRequest
from antiphon.api.events import Run
from antiphon.api.seal import Seal
from antiphon.serving.service import Service
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.labels import LABEL, take_label
from antiphon.surfaces.openai import failures
from antiphon.surfaces.responses import encode, items, sent
from antiphon.surfaces.responses.compact_route import Compacting
from antiphon.surfaces.responses.generation import Generation
from antiphon.surfaces.responses.reply import Style, response, whole
from antiphon.surfaces.responses.request import decode, wire
from antiphon.surfaces.responses.request.reader import RequestReader
from antiphon.surfaces.responses.state.background import Background
from antiphon.surfaces.responses.state.conversation_routes import ConversationRoutes
from antiphon.surfaces.responses.state.conversations import Conversations
from antiphon.surfaces.responses.state.keeper import Keeper
from antiphon.surfaces.responses.state.response_routes import ResponseRoutes
from antiphon.surfaces.responses.state.response_store import KeptResponses
from antiphon.surfaces.responses.streaming import StreamEncoder, relay
from antiphon.surfaces.responses.tools import toolbox
from antiphon.surfaces.responses.tools.approvals import ToolList
from antiphon.surfaces.surface import Operation, Options, Route, Surface


class _Responses:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options
        self._seal = Seal(options.seal_key)
        self._responses = KeptResponses(options.store)
        self._conversations = Conversations(options.store, options.new_id)
        self._background = Background(self._responses, options.background, options.leaving)
        self._reader = RequestReader(service, options, self._seal, self._responses, self._conversations)

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/responses", answer=self._create, operation=_CREATE),
            Route(method="POST", path="/responses/input_tokens", answer=self._count, operation=_COUNT),
            Compacting(self._service, self._reader, self._seal, self._options).route(),
            *ResponseRoutes(self._responses, self._background, self._options.ping_interval).routes(),
            *ConversationRoutes(self._conversations, self._options).routes(),
        ]

    async def _create(self, exchange: Exchange) -> None:
        draft, decoded = await self._reader.read(exchange)
        request = draft.request
        exchange.facts |= {"model": request.model, "stream": bool(request.stream)}
        take_label(exchange, (request.metadata or {}).get(LABEL))
        rules = self._options.call_rules(exchange, self._seal, self._service.card(request.model))
        generation = Generation(self._service, rules, draft, decoded)
        run, prompt_ids = await generation.begin()
        run = exchange.charge.making(run)
        style = self._style(draft, decoded, prompt_ids)
        exchange.watch.message = style.id
        keeper = Keeper(self._responses, self._conversations, draft, exchange.watch.key)
        if request.background:
            await self._begin(exchange, keeper, style, run, streaming=bool(request.stream))
        elif request.stream:
            encoder = StreamEncoder(style, keeper.finish)
            await sse.send(
                exchange,
                keeper.finishing(run, encoder.encode_ahead) if style.echo.store or draft.conversation else run,
                encoder,
                first_wait=self._options.first_wait,
                interval=self._options.ping_interval,
            )
        else:
            result = await _whole(exchange, style, run)
            result.store = await keeper.finish(result)
            await exchange.reply(200, msgspec.json.encode(result))

    async def _begin(self, exchange: Exchange, keeper: Keeper, style: Style, run: Run, *, streaming: bool) -> None:
        """Have a response made in the background, and say that it is, or stream it as long as the client listens."""
        if not style.echo.store:
            raise BadRequest("background: a response in the background must be stored; leave store out")
        begun = response(style, "in_progress", [])
        await keeper.keep(begun)
        exchange.charge.postponed = True
        self._background.begin(style.id, run, encode.Encoder(style), keeper.add)
        if streaming:
            frames = self._background.follow(style.id, exchange.watch.key, 0)
            await relay(exchange, frames, 0, interval=self._options.ping_interval)
        else:
            await exchange.reply(200, msgspec.json.encode(begun))

    async def _count(self, exchange: Exchange) -> None:
        draft, decoded = await self._reader.read(exchange)
        tokens = await self._service.count(draft.request.model, decoded.conversation, decoded.generation)
        await exchange.reply(200, msgspec.json.encode(sent.Counted(input_tokens=tokens)))

    def _style(self, draft: decode.Draft, decoded: decode.DecodedRequest, prompt_ids: Sequence[int]) -> Style:
        new_id, box, request = self._options.new_id, decoded.box, draft.request
        lists = [ToolList(new_id("mcpl_"), label, tools) for label, tools in box.lists.items()]
        # A prompt of ids has no items that could be gone on from.
        stored = request.store is not False and self._responses.available and request.input_ids is None
        return Style(
            id=new_id("resp_"),
            created=int(self._options.clock()),
            clock=self._options.clock,
            echo=decode.echo(draft, stored=stored),
            background=bool(request.background),
            first=lists,
            tokens=decoded.tokens,
            prompt_ids=prompt_ids,
            items=items.Style(
                new_id=new_id,
                seal=self._seal,
                shapes=box.shapes,
                served=toolbox.wire_names(box),
                definitions=box.definitions,
                summary=decode.summarised(request),
                sealed=decode.SEALED in (request.include or ()),
                scored=decoded.tokens.logprobs,
            ),
        )


async def _whole(exchange: Exchange, style: Style, run: Run) -> sent.Response:
    """The unstreamed response, for as long as the client waits for it."""
    if style.tokens.logprobs:
        return await sse.unless_gone(exchange, encode.whole(style, run))
    return whole(style, await sse.whole(exchange, run))


def _routes(service: Service, options: Options) -> list[Route]:
    return _Responses(service, options).routes()


_CREATE = Operation(
    summary="Create a response, whole or as a stream",
    description="A stream is server-sent events, each with its name and a `sequence_number`: `response.created`, "
    "`response.in_progress`, then for each item `response.output_item.added`, what is in it, and "
    "`response.output_item.done`, then `response.completed` or `response.incomplete`. A failure in the middle "
    "is `response.failed`, which ends the stream.",
    body=wire.Request,
    replies={"application/json": sent.Response, "text/event-stream": sent.Event},
)
_COUNT = Operation(
    summary="Count the tokens of a prompt",
    description="The input tokens that the same request for a response would report.",
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
    failures=failures.for_prompt("input"),
    types={"Item": Annotated[Raw, Meta(extra_json_schema=_ITEM)], "Tool": toolbox.DeclaredTool},
)
