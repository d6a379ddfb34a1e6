"""What operators and probes ask for: health, readiness, metrics, and the quiet corners that clients knock at."""

from __future__ import annotations

import msgspec

from antiphon.errors import NotFound, Overloaded
from antiphon.service import Service
from antiphon.surfaces.exchange import Exchange
from antiphon.surfaces.messages import failures
from antiphon.surfaces.surface import Options, Route, Surface


class _Operations:
    def __init__(self, service: Service, options: Options) -> None:
        self._service = service
        self._options = options

    async def health(self, exchange: Exchange) -> None:
        """The server is there, and which models it serves, the default one first."""
        models = [
            {
                "name": card.name,
                "aliases": card.aliases,
                "window": card.window,
                "tool_call_parser": card.tool_call_parser,
                "reasoning_parser": card.reasoning_parser,
                "parsers": card.parsers,
            }
            for card in self._service.cards()
        ]
        await exchange.reply(200, msgspec.json.encode({"status": "ok", "models": models}))

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


def _routes(service: Service, options: Options) -> list[Route]:
    operations = _Operations(service, options)
    return [
        Route(method="GET", path="/health", answer=operations.health, open=True, quiet=True),
        Route(method="GET", path="/health/ready", answer=operations.ready, open=True, quiet=True),
        Route(method="GET", path="/metrics", answer=operations.metrics, quiet=True),
        Route(method="GET", path="/api/hello", answer=_hello, open=True, quiet=True),
        Route(method="POST", path="/api/event_logging/*", answer=_nothing, open=True, quiet=True),
        Route(method="GET", path="/api/*", answer=_absent, open=True, quiet=True),
        Route(method="POST", path="/api/*", answer=_absent, open=True, quiet=True),
    ]


SURFACE = Surface(name="operations", routes=_routes, envelope=failures.envelope)
