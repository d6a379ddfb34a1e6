"""Loads models when workers ask for them, and unloads them when their room is needed or nobody has for a while.

Theory of operation. A worker that has a request for a model opens a connection and says which; the answer comes when
the engine runs. The connection is the worker's hold on it: `busy` and `idle` say whether requests are under way, and no
engine is stopped while somebody holds it. To unload a model, the loader says `recall` to all who hold it. They begin
nothing more with it, let what runs come to its end, write to disk what the engine has computed, and hang up. A worker
that dies hangs up, too.

Models that are waited for stand in one line. The first one whose room is not there recalls another: one that is idle,
and of those the one unused for longest; when all are at work, the one loaded longest ago.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

import msgspec

from antiphon.engines.embedded import Launch
from antiphon.engines.hardware import machine
from antiphon.observability.model_states import ModelState, State
from antiphon.process.engine_process import EngineProcess, EngineUnavailable
from antiphon.process.load_protocol import BUSY, Loaded, Wanted
from antiphon.process.loadable import Holder, Loadable, LoadableModel


class ModelLoader:
    """Loads at most `most` of the `models` at once (0: as many as there is room for), in `budget` bytes. `path` is the
    socket that workers ask at, `run` makes the process of an engine, `say` is told in a sentence what happens, and
    `publish` how it is with every model whenever that changes."""

    def __init__(
        self,
        models: Sequence[Loadable],
        *,
        most: int,
        budget: int,
        path: str,
        run: Callable[[Launch], EngineProcess],
        say: Callable[[str], None],
        publish: Callable[[Mapping[str, ModelState]], None],
        free: Callable[[], int] = machine.free_bytes,
    ) -> None:
        self._models = {each.launch.name: LoadableModel(each) for each in models}
        self._most = most
        self._budget = budget
        self._path = path
        self._run = run
        self._say = say
        self._publish = publish
        self._free = free
        self._line: list[LoadableModel] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="loader", daemon=True)

    def start(self) -> None:
        """Begin to listen. Raises OSError where there can be no socket."""
        self._thread.start()
        self._loop.result()

    def stop(self) -> None:
        """Stop listening, and every engine. May be called twice."""
        if self._thread.is_alive():
            self._loop.result().call_soon_threadsafe(self._over.set)
            self._thread.join()

    def unload(self, name: str, *, abort: bool) -> str:
        """Unload a model, at once (`abort`) or when nobody uses it, and wait until that is done; gives its file."""
        model, done = self._models[name], Future[None]()
        self._loop.result().call_soon_threadsafe(self._unload_for, model, done, abort)
        done.result()
        return model.loadable.launch.model

    def _unload_for(self, model: LoadableModel, done: Future[None], abort: bool) -> None:
        if model.status.state == "unloaded":
            done.set_result(None)
            return
        model.unloading.append(done)
        if model.status.state == "loaded" and not model.recalled:
            self._recall(model, "its weights have changed")
        if abort and model.status.state == "loaded":
            self._begin(model, "unloading", self._unload)

    async def _serve(self) -> None:
        self._publish(self._states())
        try:
            server = await asyncio.start_unix_server(self._connected, self._path)
        except OSError as error:
            self._loop.set_exception(error)
            return
        self._loop.set_result(asyncio.get_running_loop())
        await self._over.wait()
        server.close()
        engines = [model.engine for model in self._models.values() if model.engine]
        await asyncio.gather(*(asyncio.to_thread(engine.stop) for engine in engines))
        for writer in self._connections.values():
            writer.close()
        await asyncio.gather(*self._connections, *self._tasks)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections[task] = writer
        try:
            model = self._models[msgspec.json.decode(await reader.readline(), type=Wanted).model]
            await self._hold(model, Holder(writer), reader)
        except (OSError, KeyError, msgspec.MsgspecError):
            pass  # the worker is gone, or it is none
        finally:
            del self._connections[task]
            writer.close()

    async def _hold(self, model: LoadableModel, holder: Holder, reader: asyncio.StreamReader) -> None:
        """A worker's hold on a model, from its question to its hanging up."""
        model.waiting.append(holder)
        if model not in self._line:
            self._line.append(model)
        self._arrange()
        try:
            while said := await reader.readline():
                holder.busy = said == BUSY
                self._noted(model)
        finally:
            for holders in (model.waiting, model.holders):
                if holder in holders:
                    holders.remove(holder)
            self._noted(model)
            self._arrange()

    def _arrange(self) -> None:
        """Bring those in the line what they wait for, as far as that can be now."""
        for model in self._models.values():
            if model.waiting and model.status.state == "loaded" and not model.recalled:
                self._grant(model)
        while self._line and not self._over.is_set():
            model = self._line[0]
            if model.waiting and model.status.state in ("loaded", "unloading"):
                return
            if model.waiting and model.status.state == "unloaded":
                if not self._has_room(model):
                    self._make_room(model)
                    return
                self._begin(model, "loading", self._load)
            # While it is loaded, those that wait for it need no place in the line.
            self._line.remove(model)

    def _has_room(self, model: LoadableModel) -> bool:
        present = [each for each in self._models.values() if each.status.state != "unloaded"]
        taken = sum(each.loadable.bytes for each in present)
        fits = taken + model.loadable.bytes <= self._budget and model.loadable.bytes <= self._free()
        # One that will not fit in any case is tried all the same: what it takes is an estimate.
        return not present or (fits and not 0 < self._most <= len(present))

    def _make_room(self, model: LoadableModel) -> None:
        """Recall a model, unless one is on its way out or in."""
        loaded = [each for each in self._models.values() if each.status.state != "unloaded"]
        if all(each.status.state == "loaded" and not each.recalled for each in loaded):
            victim = min(loaded, key=lambda each: (each.busy, each.loaded_at if each.busy else each.used_at))
            self._recall(victim, f"its room is needed for {model.name}", evicted=1)

    def _grant(self, model: LoadableModel) -> None:
        for holder in model.waiting:
            holder.grant(Loaded(engine=model.address))
        model.holders += model.waiting
        model.waiting = []
        self._noted(model)

    def _begin(
        self, model: LoadableModel, state: State, work: Callable[[LoadableModel], Coroutine[None, None, None]]
    ) -> None:
        if self._over.is_set():
            return
        self._changed(model, state=state)
        task = asyncio.create_task(work(model))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, model: LoadableModel) -> None:
        """Start the engine, and tell those who wait of it or of its failure."""
        begun = time.monotonic()
        self._say(f"loading {model.name}: {model.loadable.room} …")
        model.engine = engine = self._run(model.loadable.launch)
        try:
            port = await asyncio.to_thread(engine.start)
        except EngineUnavailable as error:
            self._say(str(error))
            await asyncio.to_thread(engine.stop)
            model.engine = None
            for holder in model.waiting:
                holder.grant(Loaded(error=error.reason))
            model.waiting = []
            self._changed(model, state="unloaded", failures=1)
            model.settle_unloading()
        else:
            seconds = time.monotonic() - begun
            self._say(f"{model.name} is loaded ({seconds:.1f} s)")
            model.address, model.loaded_at = f"llama.cpp+http://127.0.0.1:{port}", time.monotonic()
            self._changed(model, state="loaded", loads=1, seconds=seconds)
            self._grant(model)
            if model.unloading:
                self._recall(model, "its weights have changed")
        self._arrange()

    def _noted(self, model: LoadableModel) -> None:
        """Somebody has begun or ceased to use a model, or has let go of it."""
        if model.status.state != "loaded":
            return
        model.stop_expiry()
        if model.recalled:
            if not model.holders:
                self._begin(model, "unloading", self._unload)
        elif not model.busy:
            model.used_at = time.monotonic()
            if (seconds := model.loadable.keep_alive) is not None:
                why = f"nobody has used it for {seconds:g} s" if seconds else "its last request is over"
                model.expiry = asyncio.get_running_loop().call_later(
                    seconds, partial(self._recall, model, why, expired=1)
                )

    def _recall(self, model: LoadableModel, why: str, *, evicted: int = 0, expired: int = 0) -> None:
        model.recalled = why
        self._changed(model, evicted=evicted, expired=expired)
        for holder in model.holders:
            holder.recall()
        self._noted(model)

    async def _unload(self, model: LoadableModel) -> None:
        if model.engine:
            await asyncio.to_thread(model.engine.stop)
        self._say(f"{model.name} is unloaded: {model.recalled}")
        model.engine, model.recalled = None, ""
        self._changed(model, state="unloaded")
        model.settle_unloading()
        self._arrange()

    def _changed(self, model: LoadableModel, *, state: State | None = None, seconds: float = 0.0, **more: int) -> None:
        """Note what has happened to a model, and let everybody know."""
        before = model.status
        counts = {name: getattr(before, name) + count for name, count in more.items()}
        model.status = msgspec.structs.replace(
            before, state=state or before.state, seconds=before.seconds + seconds, **counts
        )
        self._publish(self._states())

    def _states(self) -> dict[str, ModelState]:
        return {name: model.status for name, model in self._models.items()}
