"""POST /v1/messages/render: what the model would see of a message's request, token by token.

It takes the body of a message, generates nothing and waits for no slot of the engine. `docs/render.md` describes it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.prompt.inspection import Comparison, Inspection, Span
from antiphon.service import Service
from antiphon.surfaces.exchange import Exchange
from antiphon.surfaces.messages import failures
from antiphon.surfaces.messages.arrivals import Arrivals
from antiphon.surfaces.messages.seal import Seal
from antiphon.surfaces.surface import Options, Route, Surface


class _Render:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._arrivals = Arrivals(service, options, Seal(options.seal_key))

    async def answer(self, exchange: Exchange) -> None:
        arrived = await self._arrivals.read(exchange, counting=True)
        request, asked, probing = arrived.request, arrived.asked, arrived.request.diagnostics
        inspection = await self._service.inspect(
            request.model,
            asked.conversation,
            asked.generation,
            session=arrived.session,
            previous=probing.previous_message_id if probing else None,
            # A client that asks for diagnostics and names no message says that there was none.
            first=probing is not None and not probing.previous_message_id,
        )
        card = self._service.card(request.model)
        told = _told(inspection)
        exchange.notes.append(f"model={request.model}")
        head = {"type": "rendered_prompt", "model": card.name, "max_input_tokens": card.window}
        await exchange.reply(200, msgspec.json.encode({**head, **told}))


def _told(inspection: Inspection) -> dict[str, Any]:
    previous = inspection.previous
    return {
        "input_tokens": inspection.length,
        "cached_tokens": inspection.cached,
        "remembered_tokens": inspection.kept,
        "previous": _comparison(previous) if previous else None,
        "text": inspection.text,
        "ids": inspection.ids,
        "tokens": inspection.tokens,
        "spans": [_span(span) for span in inspection.spans],
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "type": span.kind,
        "role": span.role or None,
        "text": span.text,
        "first_token": span.first,
        "end_token": span.end,
    }


def _comparison(previous: Comparison) -> dict[str, Any]:
    return {
        "input_tokens": previous.tokens,
        "shared_tokens": previous.shared,
        "diverged_token": previous.diverged,
        "previous_text": previous.before,
        "reason": previous.reason or None,
    }


def _routes(service: Service, options: Options) -> list[Route]:
    render = _Render(service, options)
    return [Route(method="POST", path="/messages/render", answer=render.answer)]


SURFACE = Surface(name="render", routes=_routes, envelope=failures.envelope)
