"""The list of models, in the shape of the Messages API or in OpenAI's, whichever the client speaks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from antiphon.errors import BadRequest, NotFound
from antiphon.service import ModelCard, Service
from antiphon.surfaces.exchange import Exchange
from antiphon.surfaces.messages import failures
from antiphon.surfaces.surface import Options, Route, Surface


class _Models:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, exchange: Exchange) -> None:
        cards = self._service.cards()
        if _anthropic(exchange):
            page = _page(cards, exchange.query)
        else:
            page = {"object": "list", "data": [_openai(card) for card in cards]}
        await exchange.reply(200, msgspec.json.encode(page))

    async def one(self, exchange: Exchange) -> None:
        card = self._service.card(exchange.rest)
        shape = _model if _anthropic(exchange) else _openai
        await exchange.reply(200, msgspec.json.encode(shape(card)))


def _anthropic(exchange: Exchange) -> bool:
    return exchange.anthropic or exchange.header("anthropic-version") is not None


def _page(cards: list[ModelCard], query: dict[str, str]) -> dict[str, Any]:
    limit = query.get("limit") or "20"
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= 1000:
        raise BadRequest("limit: Input should be a valid integer between 1 and 1000")
    names = [card.name for card in cards]
    first, last = 0, len(cards)
    if after := query.get("after_id"):
        first = _place(names, after, "after_id") + 1
    if before := query.get("before_id"):
        last = _place(names, before, "before_id")
    backwards = bool(query.get("before_id")) and not query.get("after_id")
    inside = cards[first:last]
    page = inside[-int(limit) :] if backwards else inside[: int(limit)]
    return {
        "data": [_model(card) for card in page],
        "has_more": len(page) < len(inside),
        "first_id": page[0].name if page else None,
        "last_id": page[-1].name if page else None,
    }


def _place(names: list[str], name: str, field: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        raise NotFound(f"{field}: model: {name}") from None


def _openai(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "object": "model",
        "created": card.created,
        "owned_by": "antiphon",
        "max_model_len": card.window,
    }


def _model(card: ModelCard) -> dict[str, Any]:
    return {
        "id": card.name,
        "type": "model",
        "display_name": card.name,
        "created_at": datetime.fromtimestamp(card.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "line": None,
        "max_input_tokens": card.window,
        "max_tokens": card.max_output,
        "capabilities": _capabilities(card),
    }


def _capabilities(card: ModelCard) -> dict[str, Any]:
    yes, no = {"supported": True}, {"supported": False}
    thinks = {"supported": card.thinking}
    return {
        "batch": no,
        "citations": no,
        "code_execution": no,
        "image_input": {"supported": card.vision},
        "pdf_input": yes,
        "structured_outputs": yes,
        "context_management": {
            "supported": False,
            "clear_thinking_20251015": None,
            "clear_tool_uses_20250919": None,
            "compact_20260112": None,
        },
        "effort": {**thinks, "low": thinks, "medium": thinks, "high": thinks, "max": thinks, "xhigh": thinks},
        "server_tools": {"supported": False, "code_execution": no, "web_search": no},
        "thinking": {
            **thinks,
            "types": {"adaptive": thinks, "between_tools": thinks, "disabled": thinks, "enabled": thinks},
        },
    }


def _routes(service: Service, options: Options) -> list[Route]:
    models = _Models(service)
    return [
        Route(method="GET", path="/models", answer=models.list),
        Route(method="GET", path="/models/*", answer=models.one),
    ]


SURFACE = Surface(name="models", routes=_routes, envelope=failures.envelope)
