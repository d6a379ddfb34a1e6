"""What operators and probes ask for: health, readiness, metrics, and the quiet corners that clients knock at."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from antiphon.api.errors import NotFound, Overloaded
from antiphon.observability.model_states import ModelState, State
from antiphon.serving.service import ModelCard, Service
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface


class ServedModel(msgspec.Struct):
    """A model as `/health` tells of it. `window` is in tokens; `parsers` says which are in force, and why. Where the
    model is loaded when it is needed, `state` says whether it is. An adapter has the name of its model as `base`."""

    name: str
    aliases: tuple[str, ...]
    window: int
    tool_call_parser: str
    reasoning_parser: str
    parsers: str
    state: State | msgspec.UnsetType = msgspec.UNSET
    base: str | msgspec.UnsetType = msgspec.UNSET


class Health(msgspec.Struct):
    """The server is there."""

    status: str
    models: list[ServedModel]


def _served(card: ModelCard, states: Mapping[str, ModelState]) -> ServedModel:
    loaded = states.get(card.base or card.name)
    return ServedModel(
        name=card.name,
        aliases=card.aliases,
        window=card.window,
        tool_call_parser=card.tool_call_parser,
        reasoning_parser=card.reasoning_parser,
        parsers=card.parsers,
        state=loaded.state if loaded else msgspec.UNSET,
        base=card.base or msgspec.UNSET,
    )


class _Operations:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options

    async def health(self, exchange: Exchange) -> None:
        """The server is there, and which models it serves, the default one first."""
        states = self._options.model_states() if self._options.model_states else {}
        models = [_served(card, states) for card in self._service.cards()]
        await exchange.reply(200, msgspec.json.encode(Health("ok", models)))

    async def ready(self, exchange: Exchange) -> None:
        """Whether a request sent now would be taken up, by every model."""
        answers = await self._service.ready()
        crashes = self._options.crashes() if self._options.crashes else ""
        if crashes:
            raise Overloaded(crashes, retry_after=10)
        for name, ready, detail in answers:
            if not ready:
                raise Overloaded(f"{name} is not ready: {detail}", retry_after=2)
        await exchange.reply(200, b'{"status":"ready"}')

    async def metrics(self, exchange: Exchange) -> None:
        """The counters, as the configured exporter writes them."""
        if self._options.metrics is None:
            raise NotFound("this server keeps no metrics")
        await exchange.reply(200, self._options.metrics(), media_type=b"text/plain; version=0.0.4; charset=utf-8")


async def _hello(exchange: Exchange) -> None:
    await exchange.reply(200, b'{"message":"hello"}')


async def _nothing(exchange: Exchange) -> None:
    await exchange.reply(204)


async def _absent(exchange: Exchange) -> None:
    raise NotFound("Not found")


_JSON = {"application/json": dict[str, str]}
_REST = (Parameter("rest", "path", "Any path.", required=True),)
_HEALTH = Operation(summary="Check that the server runs", replies={"application/json": Health}, fails=())
_READY = Operation(summary="Check that a request sent now would be served", replies=_JSON, fails=(529,))
_METRICS = Operation(summary="Read the metrics, for Prometheus", replies={"text/plain": str}, fails=(401, 404))
_HELLO = Operation(summary="Answer a probe that clients send", replies=_JSON, fails=())
_NOTHING = Operation(
    summary="Accept clients' telemetry and discard it", status=204, parameters=_REST, rest="rest", fails=()
)
_ABSENT = Operation(
    summary="Answer that nothing is here",
    description="Some clients ask for such paths; these requests are not logged.",
    status=404,
    replies={"application/json": failures.Error},
    parameters=_REST,
    rest="rest",
    fails=(),
)


def _routes(service: Service, options: Options) -> list[Route]:
    operations = _Operations(service, options)
    return [
        Route(method="GET", path="/health", answer=operations.health, open=True, quiet=True, operation=_HEALTH),
        Route(method="GET", path="/health/ready", answer=operations.ready, open=True, quiet=True, operation=_READY),
        Route(method="GET", path="/metrics", answer=operations.metrics, quiet=True, operation=_METRICS),
        Route(method="GET", path="/api/hello", answer=_hello, open=True, quiet=True, operation=_HELLO),
        Route(method="POST", path="/api/event_logging/*", answer=_nothing, open=True, quiet=True, operation=_NOTHING),
        Route(method="GET", path="/api/*", answer=_absent, open=True, quiet=True, operation=_ABSENT),
        Route(method="POST", path="/api/*", answer=_absent, open=True, quiet=True, operation=_ABSENT),
    ]


SURFACE = Surface(
    name="operations",
    routes=_routes,
    failures=failures.FAILURES,
    base="",
)
