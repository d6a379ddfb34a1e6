"""Starts the engines of a server: at once, or the vocabulary of each and a loader that starts the rest when needed."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from antiphon.engines.cache.prefix_store import PrefixStore
from antiphon.engines.embedded import Launch
from antiphon.engines.hardware import accelerators
from antiphon.engines.models import gguf, vocabulary_file
from antiphon.engines.models.model_store import ModelUnavailable
from antiphon.process import engine_launches
from antiphon.process.engine_launches import Planned
from antiphon.process.engine_process import EngineProcess
from antiphon.process.loadable import Loadable
from antiphon.process.model_loader import ModelLoader
from antiphon.process.worker_config import ModelEndpoint, OnDemand
from antiphon.process.worker_state import Reloaded, Restart
from antiphon.process.worker_state_owner import WorkerStateOwner
from antiphon.settings.sources import ModelSettings, Settings


class EngineStarter:
    """The engines that a server's models need. `say` is told in a sentence what happens to them."""

    def __init__(self, settings: Settings, sharing: WorkerStateOwner, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._sharing = sharing
        self._say = say
        self._engines: list[EngineProcess] = []
        self._loader: ModelLoader | None = None

    def start(self) -> tuple[tuple[ModelEndpoint, ...], list[str]]:
        """Start them; gives where each model is, and what there is to say of them. Raises EngineUnavailable and
        ModelUnavailable; what was started by then is stopped by `stop`."""
        planned = engine_launches.plan(self._settings)
        if kept := next((each.prefixes for each in planned.values()), None):
            # There may be very many.
            threading.Thread(target=PrefixStore(kept.folder, kept.capacity).sweep, daemon=True).start()
        notes = [*self._unused_gpu(planned), *(f"{p.launch.name}: {p.note}" for p in planned.values() if p.note)]
        if self._settings.on_demand:
            self._begin_loader(planned)
        self._sharing.restarts(self.restart)
        places = []
        for name, model in self._settings.served.items():
            if name not in planned:
                places.append(ModelEndpoint(settings=model, engine=model.model, name=name))
            elif self._on_demand(model):
                places.append(self._vocabulary(model, planned[name]))
            else:
                places.append(self._loaded(model, planned[name]))
        return tuple(places), notes

    def _unused_gpu(self, planned: dict[str, Planned]) -> list[str]:
        """What there is to say, and is said at once, of a GPU that nobody chose to leave alone."""
        wanted = any(each.launch.gpu_layers for each in planned.values())
        missing = accelerators.look()[1] if wanted else None
        if missing is None:
            return []
        self._say(f"{missing.sentence}\n  install the build for it: {missing.install}")
        return [f"{missing.sentence}; install the build for it: {missing.install}"]

    def restart(self, request: Restart) -> None:
        """Start the engine of a model again, from its file as it is now, and tell the workers how that went. One that
        is loaded on demand is unloaded, and loaded when it is needed."""
        name = request.model
        engine = next((each for each in self._engines if each.launch.name == name), None)
        error = engine.restart() if engine else self._unload(request)
        self._say(f"{name} does not come back: {error}" if error else f"{name} has reloaded its weights")
        self._sharing.note_reloaded(name, Reloaded(time.time(), error))

    def _unload(self, request: Restart) -> str:
        if self._loader is None:
            return "it is not started here"
        file = self._loader.unload(request.model, abort=request.abort)
        try:
            gguf.read(file)
        except (OSError, ValueError) as error:
            return str(error)
        return ""

    def stop(self) -> None:
        """Stop all of them."""
        if self._loader:
            self._loader.stop()
        for engine in self._engines:
            engine.stop()

    def _on_demand(self, model: ModelSettings) -> bool:
        return self._settings.on_demand and not model.pinned

    def _begin_loader(self, planned: dict[str, Planned]) -> None:
        served = self._settings.served
        pinned = [each for name, each in planned.items() if served[name].pinned]
        loadable = [
            Loadable(launch=each.launch, room=each.room, bytes=each.needed_bytes, keep_alive=served[name].keep_alive)
            for name, each in planned.items()
            if not served[name].pinned
        ]
        most = self._settings.max_loaded - len(pinned)
        if self._settings.max_loaded and loadable and most < 1:
            raise ModelUnavailable(
                f"--max-loaded {self._settings.max_loaded}: the models with keep_alive = -1 ({len(pinned)}) leave no "
                "room for the others; raise it, or load one of them on demand"
            )
        self._loader = ModelLoader(
            loadable,
            most=max(most, 0),
            budget=engine_launches.memory_budget(self._settings) - sum(each.needed_bytes for each in pinned),
            path=self._sharing.loader,
            run=self._process,
            say=self._say,
            publish=self._sharing.models,
        )
        try:
            self._loader.start()
        except OSError as error:
            raise ModelUnavailable(
                f"models cannot be loaded on demand: no socket at {self._sharing.loader}: {error}"
            ) from None

    def _process(self, launch: Launch) -> EngineProcess:
        return EngineProcess(
            launch,
            self._say,
            report=partial(self._sharing.crashes, launch.name),
            starting=partial(self._sharing.forget_slots, launch.name),
        )

    def _loaded(self, model: ModelSettings, planned: Planned) -> ModelEndpoint:
        launch = planned.launch
        self._engines.append(self._process(launch))
        self._say(f"loading {launch.name} ({Path(launch.model).name}): {planned.room} …")
        with waiting():
            port = self._engines[-1].start()
        return _endpoint(model, planned, port)

    def _vocabulary(self, model: ModelSettings, planned: Planned) -> ModelEndpoint:
        launch = planned.launch
        file = self._sharing.vocabulary(launch.name)
        try:
            vocabulary_file.write(Path(launch.model), file)
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"the vocabulary of {launch.name} cannot be read: {error}") from None
        engine = EngineProcess(
            Launch(
                model=str(file),
                name=f"{launch.name} (vocabulary)",
                key=launch.key,
                window=vocabulary_file.WINDOW,
                parallel=1,
                threads=1,
                gpu_layers=0,
                cache_mb=0,
                log=launch.log and f"{launch.log.removesuffix('.log')}-vocabulary.log",
            ),
            self._say,
        )
        self._engines.append(engine)
        on_demand = OnDemand(
            loader=self._sharing.loader,
            window=launch.window,
            slots=launch.parallel,
            vision=bool(launch.mmproj),
            speculates=launch.speculate != "off",
            adapters=tuple(model.adapters),
        )
        return msgspec.structs.replace(_endpoint(model, planned, engine.start()), on_demand=on_demand)


def _endpoint(model: ModelSettings, planned: Planned, port: int) -> ModelEndpoint:
    launch = planned.launch
    return ModelEndpoint(
        settings=model,
        engine=f"llama.cpp+http://127.0.0.1:{port}",
        key=launch.key,
        name=launch.name,
        gguf=launch.model,
        cause=launch.cause,
        prefixes=planned.prefixes,
    )


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Show that something goes on, and for how long, on a terminal. llama.cpp does not tell how far it is."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task("", total=None)
        yield
