"""The composition root of a worker: settings → engine → model → service → surfaces → one ASGI application."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from antiphon import __version__, surfaces
from antiphon.accounts.accounts import Accounts, open_accounts
from antiphon.api.errors import Failure
from antiphon.api.offload import SLICE
from antiphon.engines import Engine, Reach
from antiphon.engines.chat import ChatServer
from antiphon.observability import metrics, model_loads, request_log, tracing
from antiphon.process import parts
from antiphon.process.reloading import WorkerReloader
from antiphon.process.seal_key import seal_key
from antiphon.process.transcript_store import TranscriptFolder
from antiphon.process.worker_config import ModelEndpoint, WorkerConfig
from antiphon.process.worker_state import WorkerState, file_name
from antiphon.prompt.prefix.transcript import TranscriptStore
from antiphon.server_tools.registry import ServerTools
from antiphon.serving import chat_model, token_model
from antiphon.serving.model import Model
from antiphon.serving.rate_limits import RateLimiter
from antiphon.serving.service import Service
from antiphon.serving.token_model import TokenModel
from antiphon.storage.repeating import repeat
from antiphon.storage.store import Store
from antiphon.trajectories.recorder import Recorder

log = logging.getLogger("antiphon")

# Seconds that replies which must end have to say so.
_FAREWELL = 1.0


class Application:
    """The ASGI application. The model is loaded when the server starts up, within the server's own event loop.

    Workers of one machine share a folder. Where there is none, what they share comes in: `seal` is the key that seals
    thinking (empty: the one in the state folder), `transcripts` gives what is remembered of each model. `attach` finds
    a model's engine."""

    def __init__(
        self,
        config: WorkerConfig,
        *,
        attach: Callable[[ModelEndpoint, Reach], Engine | ChatServer] = parts.attach,
        transcripts: Callable[[str], TranscriptStore] | None = None,
        seal: bytes = b"",
    ) -> None:
        self._runtime = config
        self._attach = attach
        self._transcripts = transcripts or self._folder
        self._seal = seal or seal_key(config.settings.state_dir, config.shared)
        self._shared = WorkerState(config.shared)
        self._service: Service | None = None
        self._tools = ServerTools()
        self._store: Store | None = None
        self._accounts = Accounts()
        self._surfaces: ASGIApp | None = None
        self._places: dict[str, ModelEndpoint] = {}
        self._loaded: dict[str, list[Model]] = {}
        self._replaced: dict[str, list[Model]] = {}
        self._tending: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Future[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._traces = tracing.begin(os.environ)
        self.stopped = False
        """Whether the server was asked to stop, and everything was let go of."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._surfaces is not None:
            await self._surfaces(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._starting = asyncio.ensure_future(self._start())
                self._shared.when_stopping(self._stop)
                try:
                    await self._starting
                except asyncio.CancelledError:
                    log.info("the server was asked to stop while the worker started")
                    await send({"type": "lifespan.startup.failed"})
                    return
                except (Failure, ValueError) as error:
                    # A sentence for the operator; where it happened says nothing more.
                    log.error("the worker cannot start: %s", error)
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                except Exception as error:
                    log.exception("the worker cannot start")
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                # Without a supervisor, or when Ctrl-C reaches the worker first, nothing was said of it before.
                self._stop()
                await asyncio.gather(*self._tending, *self._background, return_exceptions=True)
                if self._service is not None:
                    await self._service.close()
                await self._tools.close()
                await self._accounts.close()
                if self._store is not None:
                    self._store.close()
                if self._traces is not None:
                    self._traces.close()
                self.stopped = True
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        sys.setswitchinterval(SLICE)
        settings = self._runtime.settings
        self._store = parts.store(settings, alone=bool(self._runtime.shared))
        records = self._store.records if self._store else None
        hashes = self._runtime.key_hashes
        self._accounts = await open_accounts(records, hashes, Path(settings.journals), open=settings.no_auth)
        bounds = parts.rate_limiter(settings, self._accounts.keys, self._shared)
        places = self._runtime.models
        reloads = [self._shared.reloaded(place.name) for place in places]
        loaded = await asyncio.gather(*(self._load(place) for place in places))
        self._loaded = {models[0].card.name: models for models in loaded}
        self._places = dict(zip(self._loaded, places, strict=True))
        recorder = parts.recorder(settings)
        self._service = Service(
            [model for models in loaded for model in models],
            most_waiting=settings.max_queue,
            rate_limiter=bounds,
            accounts=self._accounts,
            transcripts=self._transcripts("messages"),
            clears_tool_results=settings.context_management == "clear-tool-results",
            recorder=recorder,
        )
        known = dict(zip(self._loaded, reloads, strict=True))
        reloader = WorkerReloader(self._shared, self._places, self._engine, self._renew, known)
        self._service.reloader = reloader
        chosen = self._surface_options(recorder, bounds)
        self._surfaces = surfaces.build(self._service, chosen)
        tended = [
            *self._accounts.tend(),
            *surfaces.tending(self._service, self._surfaces, chosen),
            repeat(reloader.follow, "reloads by other workers cannot be followed for now"),
        ]
        self._tending = [asyncio.ensure_future(work) for work in tended]
        spare_the_lasting()

    def _surface_options(self, recorder: Recorder | None, rate_limiter: RateLimiter) -> surfaces.Options:
        settings, shared = self._runtime.settings, bool(self._runtime.shared)
        uploads = parts.file_store(settings, self._store)
        self._tools = parts.server_tools(settings, uploads)
        self._leaving = asyncio.get_running_loop().create_future()
        return parts.options(
            settings,
            server_tools=self._tools,
            recorder=recorder,
            seal_key=self._seal,
            accounts=self._accounts,
            rate_limiter=rate_limiter,
            crashes=self._shared.crashes,
            model_states=self._shared.models,
            metrics=self._metrics,
            leaving=self._leaving,
            background=self._background,
            trace=self._traces,
            store=self._store,
            files=uploads,
            previous_batches=str(Path(settings.state_dir) / f"batches-{settings.port}") if shared else "",
            workers=settings.workers if shared else 1,
        )

    def _metrics(self) -> bytes:
        return metrics.exposition() + model_loads.exposition(self._shared.models())

    def _stop(self) -> None:
        """The server was asked to stop: begin nothing more, and let what clients wait for come to its end. What has not
        shortly before the worker is killed ends in an error."""
        self._shared.close()
        if self._starting is not None:
            # It may wait for an engine. Once it is done, this does nothing.
            self._starting.cancel()
        if self._leaving is None:
            # To cancel a second time would cut off what a task does at its end.
            return
        leaving, self._leaving = self._leaving, None
        for task in self._tending:
            task.cancel()
        grace_period = self._runtime.settings.grace_period
        patience = grace_period - min(_FAREWELL, grace_period / 4)
        log.info("the server was asked to stop; running requests have %.1f s", patience)
        asyncio.get_running_loop().call_later(patience, leaving.set_result, None)

    async def _load(self, place: ModelEndpoint) -> list[Model]:
        """The model at this place, and behind it those that its adapters make of it."""
        settings, place = self._runtime.settings, self._since_reload(place)
        reach = Reach(
            key=place.key or place.settings.engine_key,
            tokenizer=place.settings.tokenizer,
            patience=settings.queue_timeout,
            silence=settings.engine_timeout,
            # Only our own engine's slots are ours to give.
            slots=self._shared.slots(place.name) if place.gguf else None,
            prefixes=place.prefixes,
            adapters=place.settings.adapters,
            cause=place.cause,
        )
        # The same turns are other tokens to another model.
        engine = self._attach(place, reach)
        transcripts = partial(self._lasting, place) if place.prefixes else self._transcripts
        try:
            if isinstance(engine, ChatServer):
                return [await chat_model.load(engine, parts.choices(place))]
            model = await token_model.load(engine, parts.choices(place), transcripts(place.name))
            names = model.description.adapters
            return [model, *(model.adapted(name, transcripts(f"{place.name}:{name}")) for name in names)]
        except BaseException:
            await engine.close()
            raise

    def _engine(self, name: str) -> object:
        model = self._loaded[name][0]
        return model.engine if isinstance(model, TokenModel) else None

    def _since_reload(self, place: ModelEndpoint) -> ModelEndpoint:
        """The place as it is since its weights were last reloaded: what was computed and remembered with others is not
        looked for any more, by no worker. It was named when the server began."""
        reload = self._shared.reloaded(place.name)
        if reload is None or place.prefixes is None:
            return place
        other = hashlib.sha256(place.prefixes.engine + str(reload.time).encode()).digest()
        return msgspec.structs.replace(place, prefixes=msgspec.structs.replace(place.prefixes, engine=other))

    async def _renew(self, name: str) -> None:
        """Load a model whose weights are others by now, and serve it in place of what it was."""
        models = await self._load(self._places[name])
        assert self._service
        self._service.renew(models)
        # Requests that were prepared before may still wait for their turn with it.
        before, self._replaced[name] = self._replaced.get(name, []), self._loaded[name]
        self._loaded[name] = models
        for model in before:
            await model.close()

    def _lasting(self, place: ModelEndpoint, name: str) -> TranscriptStore:
        """What is remembered of a model beyond the server's end, beside what its engine computed: of the same file and
        engine, rendered in the same way."""
        assert place.prefixes is not None
        given = msgspec.structs.asdict(place.settings), parts.choices(place).chat_template, __version__, name
        owner = place.prefixes.engine + hashlib.sha256(msgspec.json.encode(given)).digest()
        return TranscriptFolder(str(Path(self._runtime.settings.state_dir) / "transcripts"), owner=owner)

    def _folder(self, name: str) -> TranscriptStore | None:
        """What the workers remember together. A single one remembers by itself; several may each get a turn of the same
        conversation."""
        if self._runtime.settings.workers == 1 or not self._shared.remembered:
            return None
        return TranscriptFolder(str(Path(self._shared.remembered) / file_name(name)))


def spare_the_lasting() -> None:
    """Keep the garbage collector from what lives as long as the worker, and let it come less often: of 512 streams at a
    token every 20 ms the longest gap was 62 ms instead of 150 to 310 (2026-11)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def create() -> ASGIApp:
    """What the HTTP server calls in each worker; the settings come from the environment."""
    config = WorkerConfig.from_environment()
    request_log.configure(config.settings.log_level, config.settings.log_format)
    return Application(config)
