"""The OpenAI-compatible completions endpoint: POST /v1/completions, for evaluation harnesses and editors.

A prompt is text, or ids, and nothing else: no template, no tools, no thinking. What the model says is told as it is.
"""

from __future__ import annotations

from functools import partial

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import BadRequest, Failure
from antiphon.serving.service import ModelCard, Prepared, Service
from antiphon.surfaces.completions import encode, sent, wire
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.labels import LABEL, take_label
from antiphon.surfaces.http.request_headers import check_media_type, tell_ignored
from antiphon.surfaces.openai import choices, failures
from antiphon.surfaces.openai.sampling import sampling, stop_sequences
from antiphon.surfaces.openai.token_logprobs import TokenStyle, token_style
from antiphon.surfaces.surface import Operation, Options, Route, Surface

_MOST_TOKENS = 16
"""Where a request does not say, as OpenAI's API has it."""


class _StreamEncoder(encode.StreamEncoder):
    async def failure(self, failure: Failure) -> bytes:
        # No [DONE] follows: a client that does not know error chunks must not take the rest for the whole.
        return b"data: " + failures.body(failure, "prompt") + b"\n\n"


class _Completions:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options

    def routes(self) -> list[Route]:
        return [Route(method="POST", path="/completions", answer=self._create, operation=_CREATE)]

    async def _create(self, exchange: Exchange) -> None:
        check_media_type(exchange)
        request, ignored = wire.read(await exchange.body(self._options.max_body))
        exchange.facts |= {"model": request.model, "stream": bool(request.stream)}
        take_label(exchange, (request.metadata or {}).get(LABEL))
        card = self._service.card(request.model)
        tokens = _token_style(request, card, ignored)
        tell_ignored(exchange, ignored)
        prompts = [await self._encoded(request, given, card) for given in wire.prompts(request)]
        prepared: list[Prepared] = []
        for ids in prompts:
            prepared += await self._prepare(request, ids, tokens, first=not prepared)
        style = encode.Style(
            id=self._options.new_id("cmpl-"),
            created=int(self._options.clock()),
            model=request.model,
            usage=bool(request.stream_options and request.stream_options.include_usage),
            tokens=tokens,
            prompts=prompts,
            echoes=[await self._echo(request, ids) for ids in prompts],
            choices=request.choices,
        )
        exchange.watch.message = style.id
        runs = [partial(self._service.run, each) for each in prepared]
        if request.stream:
            await sse.send(
                exchange,
                partial(choices.run, exchange, runs, per_prompt=request.choices),
                _StreamEncoder(style),
                first_wait=self._options.first_wait,
                interval=self._options.ping_interval,
            )
        else:
            replies = await choices.whole(exchange, runs, per_prompt=request.choices)
            await exchange.reply(200, encode.whole(style, replies))

    async def _encoded(self, request: wire.Request, prompt: str | list[int], card: ModelCard) -> list[int]:
        if isinstance(prompt, str):
            return await self._service.encode(request.model, prompt, request.suffix)
        if request.suffix is not None:
            raise BadRequest("suffix: it needs a prompt of text, not of token ids")
        card.check_ids(prompt, "prompt")
        return prompt

    async def _prepare(
        self, request: wire.Request, ids: list[int], tokens: TokenStyle, *, first: bool
    ) -> list[Prepared]:
        if not ids:
            raise BadRequest("prompt: it has no tokens; the model needs one to begin with")
        return await choices.prepare(
            self._service,
            request.model,
            Conversation(ids=tuple(ids)),
            _params(request, tokens),
            request.choices,
            further=not first,
        )

    async def _echo(self, request: wire.Request, ids: list[int]) -> str:
        if not request.echo:
            return ""
        return await self._service.decode(request.model, ids)


def _token_style(request: wire.Request, card: ModelCard, ignored: list[str]) -> TokenStyle:
    if request.echo and request.logprobs is not None:
        raise BadRequest("logprobs: the engines report none for the tokens of a prompt; leave out echo, or logprobs")
    logprobs = request.logprobs is not None
    if request.logprobs == 0 and card.alternatives is None:
        # It may mean those of the sampled tokens alone, or none: nobody is refused for it.
        ignored.append("logprobs")
        logprobs = False
    return token_style(
        card,
        ids=bool(request.return_token_ids),
        logprobs=logprobs,
        alternatives=request.logprobs or 0,
        asking="logprobs",
        count="logprobs",
    )


def _params(request: wire.Request, tokens: TokenStyle) -> GenerationParams:
    return GenerationParams(
        max_tokens=request.max_tokens or _MOST_TOKENS,
        sampling=sampling(request),
        stop_sequences=stop_sequences(request),
        report=tokens.report,
        raw=True,
    )


def _routes(service: Service, options: Options) -> list[Route]:
    return _Completions(service, options).routes()


_CREATE = Operation(
    summary="Continue a text, whole or as a stream",
    description="As other OpenAI-compatible servers answer it: a prompt as text or ids, or several, without any chat "
    "template. A stream is server-sent events: `data:` lines with chunks, then `[DONE]`; a failure within it is a "
    "chunk with `error`, without `[DONE]`.",
    body=wire.Request,
    replies={"application/json": sent.Completion, "text/event-stream": sent.Event},
)
SURFACE = Surface(
    name="completions",
    routes=_routes,
    failures=failures.for_prompt("prompt"),
)
