"""POST /v1/messages/render: what the model would see of a message's request, token by token, and be held to.

It takes the body of a message, generates nothing and waits for no slot of the engine. `docs/render.md` describes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from antiphon.api.seal import Seal
from antiphon.prompt.inspection import Comparison, Span
from antiphon.serving.service import Part, Service
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.messages.request import wire
from antiphon.surfaces.messages.request.reader import HEADERS, TYPES, RequestReader
from antiphon.surfaces.surface import Operation, Options, Route, Surface


class SentSpan(msgspec.Struct):
    """A stretch of the prompt: what it is, whose, and which tokens it takes."""

    type: str
    role: str | None
    text: str
    first_token: int
    end_token: int


class SentComparison(msgspec.Struct):
    """The prompt beside the previous one: how many tokens they share, where they part, and why."""

    input_tokens: int
    shared_tokens: int
    diverged_token: int | None
    previous_text: str
    reason: str | None


class SentUnheld(msgspec.Struct):
    """A keyword that is left to check: where it stands in the schema, and why."""

    path: str
    keyword: str
    reason: str


class SentHolding(msgspec.Struct):
    """What becomes of a schema: of the tool's of this name, or of the output's where there is none. `held` says whether
    a grammar holds the model to all of it, to a part (then `checked` says what is checked), or to nothing (then
    `reason` says why)."""

    tool: str | None
    held: Literal["whole", "part", "none"]
    checked: list[SentUnheld]
    reason: str | None


class Rendered(msgspec.Struct, kw_only=True):
    """A prompt, token by token, and what the model is held to."""

    type: Literal["rendered_prompt"] = "rendered_prompt"
    model: str
    max_input_tokens: int
    input_tokens: int
    cached_tokens: int
    remembered_tokens: int
    previous: SentComparison | None
    text: str
    ids: Sequence[int]
    tokens: Sequence[str]
    spans: list[SentSpan]
    schemas: list[SentHolding]


class _Render:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._reader = RequestReader(service, options, Seal(options.seal_key))

    async def answer(self, exchange: Exchange) -> None:
        arrived = await self._reader.read(exchange, counting=True)
        request, decoded, probing = arrived.request, arrived.decoded, arrived.request.diagnostics
        inspection = await self._service.inspect(
            request.model,
            decoded.conversation,
            decoded.generation,
            session=arrived.session,
            previous=probing.previous_message_id if probing else None,
            # A client that asks for diagnostics and names no message says that there was none.
            first=probing is not None and not probing.previous_message_id,
        )
        parts = await self._service.parts(request.model, decoded.conversation, decoded.generation)
        card = self._service.card(request.model)
        exchange.facts["model"] = request.model
        rendered = Rendered(
            model=card.name,
            max_input_tokens=card.window,
            input_tokens=inspection.length,
            cached_tokens=inspection.cached,
            remembered_tokens=inspection.reused,
            previous=_comparison(inspection.previous) if inspection.previous else None,
            text=inspection.text,
            ids=inspection.ids,
            tokens=inspection.tokens,
            spans=[_span(span) for span in inspection.spans],
            schemas=[_holding(part) for part in parts],
        )
        await exchange.reply(200, msgspec.json.encode(rendered))


def _span(span: Span) -> SentSpan:
    return SentSpan(span.kind, span.role or None, span.text, span.first, span.end)


def _holding(part: Part) -> SentHolding:
    held: Literal["whole", "part", "none"] = "none" if part.free else "part" if part.unheld else "whole"
    checked = [SentUnheld(each.path, each.keyword, each.reason) for each in part.unheld]
    return SentHolding(part.name or None, held, checked, part.free or None)


def _comparison(previous: Comparison) -> SentComparison:
    return SentComparison(previous.tokens, previous.shared, previous.diverged, previous.before, previous.reason or None)


def _routes(service: Service, options: Options) -> list[Route]:
    render = _Render(service, options)
    return [Route(method="POST", path="/messages/render", answer=render.answer, operation=_TOLD)]


_TOLD = Operation(
    summary="Show the prompt that the model would see",
    description="Takes the body of a request for a message and returns its prompt, token by token, and the constraints "
    "on the reply. Nothing is generated.",
    body=wire.Request,
    replies={"application/json": Rendered},
    parameters=HEADERS,
)
SURFACE = Surface(
    name="render",
    routes=_routes,
    failures=failures.FAILURES,
    types=TYPES,
)
