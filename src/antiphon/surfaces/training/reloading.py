"""POST /v1/models/{id}/reload: a model takes its weights anew, for those who train it (`docs/training.md`)."""

from __future__ import annotations

from typing import Literal
from urllib.parse import unquote

import msgspec

from antiphon.api.errors import NotFound
from antiphon.serving.reloading import Mode
from antiphon.serving.service import Service
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface


class Request(msgspec.Struct):
    """How: once what runs has come to its end, or at once. `weights` is where they are, for an engine that is attached
    (none: where it has them)."""

    mode: Mode = "drain"
    weights: str | None = None


class Reloaded(msgspec.Struct, kw_only=True):
    """The model has reloaded its weights. `loaded` is when, in Unix seconds, as records tell it."""

    type: Literal["model_reload"] = "model_reload"
    model: str
    loaded: float


_request = msgspec.json.Decoder(Request)


class _Reloading:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def reload(self, exchange: Exchange) -> None:
        check_media_type(exchange)
        request, _ = json_body.read(await exchange.body(1 << 16) or b"{}", _request)
        card = self._service.card(unquote(exchange.rest))
        if self._service.reloader is None:
            raise NotFound("models: none can be reloaded here, because this server runs without `antiphon serve`")
        loaded = await self._service.reloader.reload(card.name, request.mode, request.weights or "")
        await exchange.reply(200, msgspec.json.encode(Reloaded(model=card.name, loaded=loaded)))


def _routes(service: Service, options: Options) -> list[Route]:
    reloading = _Reloading(service)
    return [
        Route(method="POST", path="/models/*/reload", answer=reloading.reload, operator=True, operation=_RELOAD),
    ]


_RELOAD = Operation(
    summary="Reload a model's weights",
    description="An embedded engine is started again with its file; an attached one is asked to reload by its own "
    "call. Everything computed with the old weights is forgotten; requests that arrive meanwhile wait.",
    body=Request,
    replies={"application/json": Reloaded},
    parameters=(Parameter("model", "path", "The model's name.", required=True),),
    rest="model",
)
SURFACE = Surface(
    name="reloading",
    routes=_routes,
    failures=failures.FAILURES,
)
