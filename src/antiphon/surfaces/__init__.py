"""The HTTP APIs of the server. Every module here that exports a `SURFACE` is one; `build` makes them an application.

A folder is one API, or the routes for one purpose (`accounts`, `training`). What several share is in `http`, `content`,
`anthropic` and `openai`, and these know none of the others; `surface` says what a surface is.

Knows: accounts, api, batches, observability, prompt, server_tools, serving, storage, trajectories.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Coroutine
from importlib import import_module
from typing import Any

from starlette.types import ASGIApp

from antiphon.serving.service import Service
from antiphon.storage.repeating import repeat
from antiphon.surfaces.http import openapi
from antiphon.surfaces.http.gate import Gate, Placed
from antiphon.surfaces.ids import fresh_id
from antiphon.surfaces.surface import Options, Route, Surface

__all__ = ["Options", "Surface", "build", "find", "fresh_id", "routes", "tending"]


def find() -> dict[str, Surface]:
    """The surfaces in this folder and its rooms, by name."""
    surfaces: dict[str, Surface] = {}
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        surface = getattr(import_module(module.name), "SURFACE", None)
        if isinstance(surface, Surface):
            if surface.name in surfaces:
                raise ValueError(f"two surfaces are named {surface.name!r}")
            surfaces[surface.name] = surface
    return surfaces


def routes(service: Service, options: Options) -> list[tuple[Surface, Route]]:
    """Every route with its surface, the description of them all among them."""
    surfaces = find()
    served = [(surface, route) for surface in surfaces.values() for route in surface.routes(service, options)]
    operations = surfaces["operations"]
    return [*served, (operations, openapi.route(served, operations))]


def build(service: Service, options: Options) -> ASGIApp:
    """The ASGI application that serves every surface. Unknown paths are answered in the Messages API's envelope."""
    placed = [Placed(route, surface.failures.envelope, surface.name) for surface, route in routes(service, options)]
    return Gate(placed, find()["messages"].failures.envelope, options)


def tending(service: Service, application: ASGIApp, options: Options) -> list[Coroutine[Any, Any, None]]:
    """The work that goes on beside the requests, for as long as the application is there."""
    tended = {each.name: each.tend(service, application, options) for each in find().values() if each.tend}
    return [repeat(work, f"the work on {name} is interrupted for now") for name, work in tended.items() if work]
