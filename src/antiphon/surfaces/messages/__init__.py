"""The Messages API: POST /v1/messages and /v1/messages/count_tokens.

What happens to a request reads from top to bottom in `_create`: read, fetch, decode, prepare, then tell the reply
as a stream or whole.
"""

from __future__ import annotations

from functools import partial

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import Failure, Internal
from antiphon.api.events import AnyEvent, Emit, Finished, Run, Started, Usage
from antiphon.api.seal import Seal
from antiphon.prompt.citations.labelling import Sources
from antiphon.prompt.summary import continued
from antiphon.server_tools import unavailable
from antiphon.server_tools.rounds import Rounds
from antiphon.server_tools.tool import Session
from antiphon.serving.compaction import Compaction, SummaryRequest
from antiphon.serving.service import Prepared, Service
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.labels import take_label
from antiphon.surfaces.messages import caching, encode, message, progress, sent
from antiphon.surfaces.messages.request import wire
from antiphon.surfaces.messages.request.reader import HEADERS, TYPES, ReceivedRequest, RequestReader
from antiphon.surfaces.surface import Operation, Options, Route, Surface


class _StreamEncoder:
    """The reply to one request, as `sse` wants it told."""

    def __init__(self, style: message.Style, prepared: Prepared, exchange: Exchange) -> None:
        self._encoder = encode.Encoder(style)
        self._prepared = prepared
        self._request_id = exchange.request_id
        self._reading = exchange.watch.reading if progress.is_requested(exchange) else None

    @property
    def ping(self) -> bytes:
        return progress.ping(self._reading.progress) if self._reading else encode.PING

    @property
    def finished(self) -> bool:
        return self._encoder.finished

    def opening(self) -> bytes:
        return self._encoder.start(self._prepared.usage)

    def batch(self, events: list[AnyEvent]) -> bytes:
        return self._encoder.batch(events)

    async def failure(self, failure: Failure) -> bytes:
        return b"event: error\ndata: " + failures.body(failure, self._request_id) + b"\n\n"


class _Computed(Exception):
    """The prompt is computed, and no more is wanted."""

    def __init__(self, usage: Usage) -> None:
        super().__init__()
        self.usage = usage


class _Messages:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options
        self._seal = Seal(options.seal_key)
        self._reader = RequestReader(service, options, self._seal)

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path="/messages", answer=self._create, operation=_CREATE),
            Route(method="POST", path="/messages/count_tokens", answer=self._count, operation=_COUNT),
        ]

    async def _create(self, exchange: Exchange) -> None:
        received = await self._reader.read(exchange)
        request = received.request
        exchange.facts |= {"model": request.model, "stream": bool(request.stream)}
        take_label(exchange, request.metadata and request.metadata.label)
        exchange.watch.message = id = self._options.new_id("msg_")
        summary = await self._summary(received)
        prepared = await self._prepare(exchange, received, id, summary)
        style = self._style(exchange, received, id, prepared)
        run = (
            self._compacted(exchange, received, prepared, summary)
            if summary
            else self._run(exchange, received, prepared)
        )
        if received.turn is not None:
            run = self._reader.threads.keeping(received.turn, style, run)
        run = exchange.charge.making(run)
        if request.stream:
            encoder = _StreamEncoder(style, prepared, exchange)
            await sse.send(
                exchange,
                run,
                encoder,
                first_wait=self._options.first_wait,
                interval=progress.interval(exchange, self._options.ping_interval),
            )
        elif request.max_tokens == 0:
            usage = await sse.unless_gone(exchange, self._warm(prepared))
            exchange.charge.make(usage)
            await exchange.reply(200, message.whole_of(style, [], Finished("max_tokens", usage)))
        else:
            reply = await sse.whole(exchange, run)
            await exchange.reply(200, message.whole(style, reply))

    async def _summary(self, received: ReceivedRequest) -> SummaryRequest | None:
        """The summary that is written before the reply. A request that only warms the cache has none: it warms it for
        the conversation as it is."""
        if not received.request.max_tokens:
            return None
        decoded = received.decoded
        return await self._service.compaction(received.request.model, decoded.conversation, decoded.generation)

    async def _prepare(
        self, exchange: Exchange, received: ReceivedRequest, id: str, summary: SummaryRequest | None
    ) -> Prepared:
        """The first prompt: that of the summary, or of the reply with this id."""
        request, decoded, probing = received.request, received.decoded, received.request.diagnostics
        return await self._service.prepare(
            request.model,
            summary.conversation if summary else decoded.conversation,
            summary.params if summary else decoded.generation,
            session=received.session,
            message=id if probing else None,
            previous=probing.previous_message_id if probing else None,
            low_priority=exchange.batch is not None,
        )

    def _style(self, exchange: Exchange, received: ReceivedRequest, id: str, prepared: Prepared) -> message.Style:
        request, decoded = received.request, received.decoded
        return message.Style(
            id=id,
            model=request.model,
            seal=self._seal,
            withheld=decoded.withheld,
            context_management=not isinstance(request.context_management, msgspec.UnsetType),
            members=decoded.members,
            diagnostics=caching.diagnostics(prepared.miss) if request.diagnostics else None,
            hour=decoded.hour,
            tier="standard" if exchange.batch is None else "batch",
            tokens=decoded.tokens,
            prompt_ids=prepared.prompt_ids if decoded.tokens else (),
            tool_changes=decoded.tool_changes,
        )

    async def _count(self, exchange: Exchange) -> None:
        received = await self._reader.read(exchange, counting=True)
        model, decoded = received.request.model, received.decoded
        counted = sent.Counted(await self._service.count(model, decoded.conversation, decoded.generation))
        if not isinstance(received.request.context_management, msgspec.UnsetType):
            unedited = msgspec.structs.replace(decoded.generation, edits=())
            original = await self._service.count(model, decoded.conversation, unedited)
            counted.context_management = sent.CountedContext(original)
        await exchange.reply(200, msgspec.json.encode(counted))

    def _run(self, exchange: Exchange, received: ReceivedRequest, prepared: Prepared) -> Run:
        """What generates the message: the model alone, or in rounds with the tools that run here."""
        decoded = received.decoded
        first = partial(self._service.run, prepared)
        if decoded.server_tool:
            return partial(self._unavailable, decoded.server_tool, received.text, prepared.prompt_tokens)
        if not decoded.served:
            return first

        async def further(conversation: Conversation, generation: GenerationParams) -> Run:
            low_priority = exchange.batch is not None
            again = await self._service.prepare(
                received.request.model,
                conversation,
                generation,
                session=received.session,
                low_priority=low_priority,
                further=True,
            )
            return partial(self._service.run, again)

        rounds = Rounds(
            decoded.conversation,
            decoded.generation,
            self._options.call_rules(exchange, self._seal, self._service.card(received.request.model)),
            declared=decoded.served,
            deferred=decoded.deferred,
            searchable=decoded.searchable,
            further=further,
            session=Session(received.container, received.uploads),
            sources=decoded.sources,
            opening=received.listings,
        )
        return partial(rounds.run, first)

    def _compacted(
        self, exchange: Exchange, received: ReceivedRequest, prepared: Prepared, request: SummaryRequest
    ) -> Run:
        """What generates a summary, and then the message that goes on after it."""

        async def further(summary: str) -> Run:
            decoded = received.decoded
            if summary:
                conversation = continued(decoded.conversation, summary)
                sources = Sources() if decoded.sources is not None else None
                decoded = msgspec.structs.replace(decoded, conversation=conversation, sources=sources)
            again = await self._service.prepare(
                received.request.model,
                decoded.conversation,
                decoded.generation,
                session=received.session,
                low_priority=exchange.batch is not None,
                further=True,
            )
            return self._run(exchange, msgspec.structs.replace(received, decoded=decoded), again)

        return Compaction(partial(self._service.run, prepared), request.edit, further).run

    async def _warm(self, prepared: Prepared) -> Usage:
        """Have the prompt computed, and nothing more."""

        async def stop(events: list[AnyEvent]) -> None:
            for event in events:
                if isinstance(event, Started | Finished):
                    raise _Computed(event.usage)

        try:
            await self._service.run(prepared, stop)
        except _Computed as computed:
            return msgspec.structs.replace(computed.usage, output=0, thinking=0)
        raise Internal("the engine gave no answer")

    async def _unavailable(self, tool: tuple[str, str], text: str, tokens: int, emit: Emit) -> None:
        name, kind = tool
        await emit(unavailable.answer(name, kind, text, self._options.new_id("srvtoolu_"), Usage(prompt=tokens)))


def _routes(service: Service, options: Options) -> list[Route]:
    return _Messages(service, options).routes()


_CREATE = Operation(
    summary="Create a message, whole or as a stream",
    description="A stream is server-sent events: `message_start`, then for each block `content_block_start`, "
    "`content_block_delta`s and `content_block_stop`, then `message_delta` and `message_stop`; pings in "
    "times of silence. A failure in the middle is an `error` event, which ends the stream.",
    body=wire.Request,
    replies={"application/json": sent.Message, "text/event-stream": sent.Event},
    parameters=HEADERS,
)
_COUNT = Operation(
    summary="Count the tokens of a prompt",
    description="The sum of the three kinds of input tokens that the same request for a message would report.",
    body=wire.Request,
    replies={"application/json": sent.Counted},
    parameters=HEADERS,
)
SURFACE = Surface(
    name="messages",
    routes=_routes,
    failures=failures.FAILURES,
    types={**TYPES, "SentBlock": sent.Block},
)
