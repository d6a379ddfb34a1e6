"""The Serve application: settings → deployments. What `serve run antiphon.ray:app` calls."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from ray import serve
from ray.serve.config import RequestRouterConfig
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from antiphon.engines import Engine, Reach
from antiphon.engines.chat import ChatServer
from antiphon.observability import request_log
from antiphon.process import parts
from antiphon.process.app import Application
from antiphon.process.seal_key import seal_key
from antiphon.process.supervisor import refuse_open, refuse_wrong_model
from antiphon.process.worker_config import ModelEndpoint, WorkerConfig
from antiphon.ray.engine import EngineActor
from antiphon.ray.memory import Memory, Remembered
from antiphon.ray.remote import EngineActors
from antiphon.settings import sources
from antiphon.settings.sources import BadSettings, ModelSettings, Settings

_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
_UNBOUNDED = 65536
"""Requests that a surface may have; where to wait, and how many may, is decided in front of the engine."""
_ASKING = 256
"""Requests for a replica of an engine beside those that have or await a slot: they tokenise."""

_QUIET = {"enable_access_log": False}
"""Requests are in the surface's own log."""


def app(arguments: dict[str, Any]) -> serve.Application:
    """The application. `arguments` are `config`, the file, and any option by its name there, as `key=value` behind
    `serve run antiphon.ray:app` or as `args` in Serve's own file. Raises BadSettings and CannotServe."""
    return deployments(settings(arguments))


def settings(arguments: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force: an argument is worth what the same environment variable would be, and more."""
    variables = {option.name: option.variable for option in sources.options()}
    merged = dict(environment)
    for name, value in arguments.items():
        if name != "config" and name not in variables:
            raise BadSettings(f"unknown argument {name!r}; known: config, {', '.join(variables)}")
        merged[variables.get(name, sources.CONFIG_VARIABLE)] = _text(value)
    return sources.load(environment=merged)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def deployments(settings: Settings) -> serve.Application:
    """The surface, bound to the engines and the memory that it needs."""
    refuse_open(settings)
    for model in settings.served.values():
        refuse_wrong_model(model)
    places = tuple(
        ModelEndpoint(settings=model, engine=model.model, name=name) for name, model in settings.served.items()
    )
    config = WorkerConfig.of(settings, places, "")
    engines = {
        name: _engine(settings, name, model).bind(config.settings, name)
        for name, model in settings.served.items()
        if not model.remote
    }
    surface = _deployment(
        Surface,
        "ray.surface",
        settings.ray.surface,
        name="Surface",
        num_replicas=settings.workers,
        max_ongoing_requests=_UNBOUNDED,
        graceful_shutdown_timeout_s=settings.grace_period,
        logging_config=_QUIET,
    )
    memory = _deployment(
        Memory,
        "ray.memory",
        {},
        name="Memory",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=_UNBOUNDED,
        logging_config=_QUIET,
    )
    return surface.bind(config, seal_key(settings.state_dir), engines, memory.bind())


def _engine(settings: Settings, name: str, model: ModelSettings) -> serve.Deployment:
    options = {**settings.ray.engine, **settings.ray.models.get(name, {})}
    resources = {"num_cpus": model.threads or 1, **options.pop("ray_actor_options", {})}
    if scaling := options.get("autoscaling_config"):
        options["autoscaling_config"] = {"target_ongoing_requests": model.parallel, **scaling}
    return _deployment(
        EngineActor,
        "ray.engine" if name not in settings.ray.models else f"ray.models.{name}",
        options,
        name=f"Engine-{name}" if settings.models else "Engine",
        num_replicas=1,
        ray_actor_options=resources,
        max_ongoing_requests=model.parallel + settings.max_queue + _ASKING,
        graceful_shutdown_timeout_s=settings.grace_period,
        logging_config=_QUIET,
        request_router_config=RequestRouterConfig(request_router_class=_ROUTER),
    )


def _deployment(actor: type, table: str, options: dict[str, Any], **ours: Any) -> serve.Deployment:
    """A deployment with our options, and before them what is `options` in this table of the file."""
    if "autoscaling_config" in options:
        del ours["num_replicas"]
    try:
        return serve.deployment(actor, **{**ours, **options})
    except (TypeError, ValueError) as error:
        raise BadSettings(f"[{table}]: {error}") from None


@serve.ingress()
class Surface:
    """A replica of the ASGI application. Models whose engines run in actors are reached through these."""

    def __init__(
        self,
        config: WorkerConfig,
        seal: bytes,
        engines: dict[str, DeploymentHandle[Any]],
        memory: DeploymentHandle[Any],
    ) -> None:
        request_log.configure(config.settings.log_level, config.settings.log_format)
        self._runtime = config
        self._seal = seal
        self._engines = engines
        self._memory = memory

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return Application(
            self._runtime, attach=self._attach, transcripts=partial(Remembered, self._memory), seal=self._seal
        )

    def _attach(self, place: ModelEndpoint, reach: Reach) -> Engine | ChatServer:
        handle = self._engines.get(place.name)
        return EngineActors(handle, reach.patience) if handle is not None else parts.attach(place, reach)
