"""An engine actor: one replica of an engine's deployment, which owns its engine and the line in front of it."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

import msgspec
import ray

from antiphon.engines import Description, Engine, Job, Piece, Prefilled, Prefixes, Reach, connect
from antiphon.engines.cache.prefix_store import PrefixStore
from antiphon.engines.chat import ChatServer
from antiphon.engines.embedded import Launch
from antiphon.observability import request_log
from antiphon.process import engine_launches
from antiphon.process.engine_process import EngineProcess
from antiphon.ray.askers import Asker, Askers
from antiphon.serving.admission import AdmissionQueue
from antiphon.settings.sources import Settings

log = logging.getLogger("antiphon.ray")


class Taken(msgspec.Struct, frozen=True):
    """A replica has the job; it may have to wait for a slot there."""


class Unwell(Exception):
    """The engine does not answer. Ray replaces a replica that says so several times in a row."""


def alone(settings: Settings, name: str, cores: int) -> Settings:
    """The settings for an actor that serves only the model of this name, on so many cores unless they say otherwise."""
    model = settings.served[name]
    threads = model.threads or cores
    if not settings.models:
        return msgspec.structs.replace(settings, threads=threads)
    return msgspec.structs.replace(
        settings, models={name: msgspec.structs.replace(model, threads=threads)}, default_model=name
    )


class EngineActor:
    """Owns the engine of the model called `name` in the settings: an embedded one, or one that is no server."""

    async def __init__(self, settings: Settings, name: str) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        request_log.configure(settings.log_level, settings.log_format)
        self._process: EngineProcess | None = None
        self._crashes = ""
        self._askers = Askers()
        # What Ray set aside for this actor; it may be less than a core, or none.
        cores = int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0))
        settings = alone(settings, name, cores)
        target, reach, adapters = settings.served[name].model, Reach(), settings.served[name].adapters
        if not settings.served[name].attached:
            launch, prefixes = await self._start(settings, name)
            target, name = f"llama.cpp+http://127.0.0.1:{launch.port}", launch.name
            reach = Reach(
                key=launch.key,
                patience=settings.queue_timeout,
                silence=settings.engine_timeout,
                slots=_slots(launch),
                prefixes=prefixes,
                adapters=adapters,
                cause=launch.cause,
            )
        engine = connect(target, reach)
        assert not isinstance(engine, ChatServer)
        self._engine: Engine = engine
        described = await engine.describe()
        self._line = AdmissionQueue(described.slots, settings.max_queue, model=name)
        # The line is here, for all who ask: they need not know of slots.
        self._described = msgspec.structs.replace(described, model=name or described.model, slots=0)

    async def _start(self, settings: Settings, name: str) -> tuple[Launch, Prefixes | None]:
        launch, note, prefixes, *_ = (await asyncio.to_thread(engine_launches.plan, settings))[name]
        if note:
            log.warning("%s: %s", launch.name, note)
        # Several actors may share the folder.
        launch = msgspec.structs.replace(launch, log=_own(launch.log), cause=_own(launch.cause))
        forget = partial(Path(_slots(launch)).unlink, missing_ok=True)
        self._process = EngineProcess(launch, log.warning, report=self._report, starting=forget)
        await asyncio.to_thread(self._process.start)
        if prefixes is not None:
            threading.Thread(target=PrefixStore(prefixes.folder, prefixes.capacity).sweep, daemon=True).start()
        return self._process.launch, prefixes

    def _report(self, sentence: str) -> None:
        self._crashes = sentence

    async def describe(self) -> Description:
        """What runs here, by the name that clients are shown."""
        return self._described

    async def tokenise(self, segments: Sequence[str]) -> list[int]:
        """As the engine does."""
        return await self._engine.tokenise(segments)

    async def picture_tokens(self, pictures: Sequence[bytes]) -> int:
        """As the engine does."""
        return await self._engine.picture_tokens(pictures)

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """As the engine does."""
        return await self._engine.spell(ids)

    async def generate(self, job: Job, asker: Asker) -> AsyncGenerator[Taken | Prefilled | list[Piece], None]:
        """As the engine does, once it has a slot; before that, `Taken`."""
        yield Taken()
        async with aclosing(self._askers.relayed(asker, self._generated(job))) as items:
            async for item in items:
                yield item

    async def _generated(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        async with self._line.slot("", len(job.prompt)), aclosing(self._engine.generate(job)) as items:
            async for item in items:
                yield item

    async def check_health(self) -> None:
        """What Ray Serve asks every replica, now and then. Raises Unwell."""
        health = await self._engine.health()
        if self._crashes or not health.ready:
            raise Unwell(self._crashes or health.detail)

    async def __del__(self) -> None:
        """What Ray Serve calls when the last request has left a replica that must go."""
        if self._process is not None:
            # What it computed is of use to the replica that comes next, or to another one that shares the folder.
            await self._engine.close()
            await asyncio.to_thread(_end, self._process)


def _own(file: str) -> str:
    """The name of this process's own among files of this name; none stays none."""
    return str(Path(file).with_stem(f"{Path(file).stem}-{os.getpid()}")) if file else ""


def _slots(launch: Launch) -> str:
    """The file of what is in the slots of an engine, which goes whenever the engine is started."""
    return str(Path(launch.cause).with_suffix(".slots"))


def _end(process: EngineProcess) -> None:
    process.stop()
    Path(_slots(process.launch)).unlink(missing_ok=True)
    if process.launch.log:
        # Each actor has a log of its own, and nobody asks how one ended that was told to.
        Path(process.launch.log).unlink(missing_ok=True)
