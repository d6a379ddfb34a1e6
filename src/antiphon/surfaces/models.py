"""The list of models, in the shape of the Messages API or in OpenAI's, whichever the client speaks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw

from antiphon.serving.service import ModelCard, Service
from antiphon.surfaces.anthropic import failures, pages
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.openai.catalogue import CatalogueModel, catalogue
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface


class Model(msgspec.Struct, kw_only=True):
    """A model, in the shape of the Messages API. `max_input_tokens` is its window."""

    id: str
    type: Literal["model"] = "model"
    display_name: str
    created_at: str
    lifecycle: str = "active"
    deprecated_at: None = None
    retires_at: None = None
    line: None = None
    max_input_tokens: int
    max_tokens: int
    capabilities: dict[str, Any]


class Page(msgspec.Struct):
    """Some of the models, in the shape of the Messages API."""

    data: list[Model]
    has_more: bool
    first_id: str | None
    last_id: str | None


class OpenModel(msgspec.Struct, kw_only=True):
    """A model, in OpenAI's shape. `max_model_len` is its window."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "antiphon"
    max_model_len: int


class OpenList(msgspec.Struct, kw_only=True):
    """All models, in OpenAI's shape. `models` has the same for Codex."""

    object: Literal["list"] = "list"
    data: list[OpenModel]
    models: list[CatalogueModel]


class _Models:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options

    async def list(self, exchange: Exchange) -> None:
        anthropic = _anthropic(exchange)
        # Clients of OpenAI's shape know no pages and expect all there is.
        cards, usual = self._service.cards(), "20" if anthropic else "1000"
        stages = exchange.queries.get("lifecycle[]") or exchange.queries.get("lifecycle")
        if stages and "active" not in stages:
            cards = []
        places, more = pages.cut([card.name for card in cards], exchange.query, usual=usual, kind="model")
        page = [cards[place] for place in places]
        if anthropic:
            first, last = (page[0].name, page[-1].name) if page else (None, None)
            served = self._served(exchange)
            entries = [_model(card, served) for card in page]
            listed: Page | OpenList = Page(entries, more, first, last)
        else:
            listed = OpenList(data=[_openai(card) for card in page], models=catalogue(page))
        await exchange.reply(200, msgspec.json.encode(listed))

    async def one(self, exchange: Exchange) -> None:
        card = self._service.card(exchange.rest)
        entry = _model(card, self._served(exchange)) if _anthropic(exchange) else _openai(card)
        await exchange.reply(200, msgspec.json.encode(entry))

    def _served(self, exchange: Exchange) -> set[str]:
        """What this server does for the client beside answering."""
        offered = self._options.server_tools.for_key(exchange.watch.key)
        batches = {"batch"} if self._options.store is not None else set[str]()
        return batches | {family.name for family in offered.families}


def _anthropic(exchange: Exchange) -> bool:
    return exchange.anthropic or exchange.header("anthropic-version") is not None


def _openai(card: ModelCard) -> OpenModel:
    return OpenModel(id=card.name, created=card.created, max_model_len=card.window)


def _model(card: ModelCard, served: set[str]) -> Model:
    return Model(
        id=card.name,
        display_name=card.name,
        created_at=datetime.fromtimestamp(card.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        max_input_tokens=card.window,
        max_tokens=card.max_output,
        capabilities=_capabilities(card, served),
    )


def _capabilities(card: ModelCard, served: set[str]) -> dict[str, Any]:
    yes, thinks = {"supported": True}, {"supported": card.thinking}
    code, search = ({"supported": name in served} for name in ("code_execution", "web_search"))
    either = {"supported": code["supported"] or search["supported"]}
    return {
        "batch": {"supported": "batch" in served},
        "citations": yes,
        "code_execution": code,
        "image_input": {"supported": card.vision},
        "pdf_input": yes,
        "structured_outputs": yes,
        "context_management": {
            "supported": True,
            "clear_thinking_20251015": yes,
            "clear_tool_uses_20250919": yes,
            "compact_20260112": yes,
        },
        "effort": {**thinks, "low": thinks, "medium": thinks, "high": thinks, "max": thinks, "xhigh": thinks},
        "server_tools": {**either, "code_execution": code, "web_search": search},
        "thinking": {
            **thinks,
            "types": {"adaptive": thinks, "between_tools": thinks, "disabled": thinks, "enabled": thinks},
        },
    }


def _either(*names: str) -> Any:
    """JSON that is one of these structs."""
    return Annotated[Raw, Meta(extra_json_schema={"anyOf": [{"$ref": name} for name in names]})]


_VERSION = Parameter("anthropic-version", "header", "Asks for the shape of the Messages API; without it, OpenAI's.")
_LIST = Operation(
    summary="List the models",
    replies={"application/json": _either("Page", "OpenList")},
    parameters=(
        _VERSION,
        *pages.PARAMETERS,
        Parameter("lifecycle[]", "query", "Only models in one of these stages. All that are served are `active`."),
    ),
)
_ONE = Operation(
    summary="Retrieve a model",
    replies={"application/json": _either("Model", "OpenModel")},
    parameters=(
        Parameter(
            "model_id",
            "path",
            "Its name, or one that stands for it: `default`, or any with `claude` in it.",
            required=True,
        ),
        _VERSION,
    ),
    rest="model_id",
)


def _routes(service: Service, options: Options) -> list[Route]:
    models = _Models(service, options)
    return [
        Route(method="GET", path="/models", answer=models.list, operation=_LIST),
        Route(method="GET", path="/models/*", answer=models.one, operation=_ONE),
    ]


SURFACE = Surface(
    name="models",
    routes=_routes,
    failures=failures.FAILURES,
    types={"Page": Page, "OpenList": OpenList},
)
