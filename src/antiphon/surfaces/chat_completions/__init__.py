"""The OpenAI-compatible chat endpoint: POST /v1/chat/completions.

It shares every stage with the Messages API but decode and encode, and is the pattern for a new surface. What happens
to a request reads from top to bottom in `_create`: read, fetch, decode, prepare, then tell the reply as a stream or
whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from antiphon.api.errors import Failure
from antiphon.api.events import Run
from antiphon.api.offload import LARGE, offload
from antiphon.api.seal import Seal
from antiphon.serving.service import Prepared, Service
from antiphon.surfaces.chat_completions import decode, encode, reply, sent, wire
from antiphon.surfaces.chat_completions.web_search import Searching
from antiphon.surfaces.content import remote
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.labels import LABEL, take_label
from antiphon.surfaces.http.request_headers import check_media_type, tell_ignored
from antiphon.surfaces.openai import choices, failures
from antiphon.surfaces.openai.choices import ChoiceBatch, sampled_apart, total
from antiphon.surfaces.surface import Operation, Options, Route, Surface


class _StreamEncoder:
    """The reply to one request, as `sse` wants it told."""

    ping = encode.PING

    def __init__(self, style: reply.Style) -> None:
        self._style = style
        self._opened = False
        self._choices = [encode.Encoder(style, index) for index in range(style.choices)]

    @property
    def finished(self) -> bool:
        return all(choice.finished for choice in self._choices)

    def opening(self) -> bytes:
        self._opened = True
        return b"".join(choice.start() for choice in self._choices)

    def batch(self, events: ChoiceBatch) -> bytes:
        index, frames = events[0], b""
        if index and not self._opened:
            # Some clients expect the choices to begin in their order.
            frames = self.opening()
        self._opened = True
        frames += self._choices[index].batch(events[1])
        if len(self._choices) > 1 and self.finished:
            usage = total([choice.usage for choice in self._choices], len(self._choices))
            frames += encode.closing(self._style, usage)
        return frames

    async def failure(self, failure: Failure) -> bytes:
        # No [DONE] follows: a client that does not know error chunks must not take the rest for the whole.
        return b"data: " + failures.body(failure, "messages") + b"\n\n"


class _ChatCompletions:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options
        self._seal = Seal(options.seal_key)

    def routes(self) -> list[Route]:
        return [Route(method="POST", path="/chat/completions", answer=self._create, operation=_CREATE)]

    async def _create(self, exchange: Exchange) -> None:
        request, decoded, prepared = await self._read(exchange)
        style = reply.Style(
            id=self._options.new_id("chatcmpl-"),
            created=int(self._options.clock()),
            model=request.model,
            usage=bool(request.stream_options and request.stream_options.include_usage),
            legacy=decoded.legacy,
            forms=decoded.forms,
            choices=len(prepared),
            tokens=decoded.tokens,
            prompt_ids=prepared[0].prompt_ids if decoded.tokens.ids else (),
        )
        exchange.watch.message = style.id
        runs = self._runs(exchange, request, decoded, prepared)
        if request.stream:
            await sse.send(
                exchange,
                partial(choices.run, exchange, runs, per_prompt=len(runs)),
                _StreamEncoder(style),
                first_wait=self._options.first_wait,
                interval=self._options.ping_interval,
            )
        else:
            replies = await choices.whole(exchange, runs, per_prompt=len(runs))
            await exchange.reply(200, reply.whole(style, *replies))

    async def _read(self, exchange: Exchange) -> tuple[wire.Request, decode.DecodedRequest, list[Prepared]]:
        check_media_type(exchange)
        body = await exchange.body(self._options.max_body)
        # A PDF takes its time, however short it is.
        large = len(body) > LARGE or b'"file_data"' in body
        draft = await offload(large, partial(decode.read, body))
        request = draft.request
        exchange.facts |= {"model": request.model, "stream": bool(request.stream)}
        take_label(exchange, (request.metadata or {}).get(LABEL))
        card = self._service.card(request.model)
        addresses = decode.remote_addresses(draft, card) if b'"image_url"' in body else {}
        fetched = await remote.fetch(addresses, allow_private=self._options.allow_private_urls)
        offered = self._options.server_tools.for_key(exchange.watch.key)
        decoded = await offload(large, partial(decode.decode, draft, card, fetched, offered))
        tell_ignored(exchange, decoded.ignored)
        prepared = await choices.prepare(
            self._service,
            request.model,
            decoded.conversation,
            decoded.generation,
            request.n or 1,
            session=_session(request),
        )
        return request, decoded, prepared

    def _runs(
        self,
        exchange: Exchange,
        request: wire.Request,
        decoded: decode.DecodedRequest,
        prepared: Sequence[Prepared],
    ) -> list[Run]:
        """What generates each choice: the model, alone or in rounds with web search."""
        if not decoded.served:
            return [partial(self._service.run, each) for each in prepared]
        searching = Searching(
            self._service,
            self._options.call_rules(exchange, self._seal, self._service.card(request.model)),
            request.model,
            decoded.served,
            # A reply that must be JSON has no place for tags.
            cites=decoded.generation.output_schema is None,
            session=_session(request),
        )
        return [
            searching.run(each, decoded.conversation, sampled_apart(decoded.generation, number))
            for number, each in enumerate(prepared)
        ]


def _session(request: wire.Request) -> str | None:
    return request.prompt_cache_key[:256] if request.prompt_cache_key else None


def _routes(service: Service, options: Options) -> list[Route]:
    return _ChatCompletions(service, options).routes()


_CREATE = Operation(
    summary="Create a chat completion, whole or as a stream",
    description="As other OpenAI-compatible servers answer it. A stream is server-sent events: `data:` lines with "
    "chunks, then `[DONE]`; a failure within it is a chunk with `error`, without `[DONE]`.",
    body=wire.Request,
    replies={"application/json": sent.Completion, "text/event-stream": sent.Event},
)
SURFACE = Surface(
    name="chat_completions",
    routes=_routes,
    failures=failures.for_prompt("messages"),
)
