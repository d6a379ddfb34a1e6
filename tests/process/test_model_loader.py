"""The loader of models, asked over its socket by workers that are played here. No engine is a process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from antiphon.engines.embedded import Launch
from antiphon.observability.model_states import ModelState
from antiphon.process.engine_process import EngineUnavailable
from antiphon.process.load_protocol import BUSY, IDLE, RECALL, Loaded, Wanted, line
from antiphon.process.loadable import Loadable
from antiphon.process.model_loader import ModelLoader

_PATIENCE = 30.0


class Engine:
    """A stand-in for an engine's process: starts at once, unless it is `held` or is to fail, and not after it was
    stopped."""

    def __init__(self, launch: Launch, machine: Machine) -> None:
        self.launch = launch
        self._machine = machine
        self._stopped = False
        self._lock = threading.Lock()

    def start(self) -> int:
        self._machine.held.wait(_PATIENCE)
        with self._lock:
            reason = "it was stopped" if self._stopped else self._machine.broken.get(self.launch.name)
            if reason:
                raise EngineUnavailable(f"{reason}\n its log", reason)
            self._machine.running.append(self.launch.name)
        self._machine.most = max(self._machine.most, len(self._machine.running))
        return 1

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self.launch.name in self._machine.running:
                self._machine.running.remove(self.launch.name)


class Machine:
    """Where the stand-ins run, and what the loader says and publishes."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.most = 0
        self.broken: dict[str, str] = {}
        self.held = threading.Event()
        self.held.set()
        self.said: list[str] = []
        self.states: Mapping[str, ModelState] = {}

    def run(self, launch: Launch) -> Engine:
        return Engine(launch, self)

    def publish(self, states: Mapping[str, ModelState]) -> None:
        self.states = dict(states)


class Worker:
    """A worker's hold on a model."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def answer(self) -> Loaded:
        return msgspec.json.decode(await self._line(), type=Loaded)

    async def recalled(self) -> None:
        assert await self._line() == RECALL

    async def quiet(self) -> bool:
        """Whether nothing is said to it although the loader has had time for it."""
        try:
            await asyncio.wait_for(self._reader.readline(), 0.05)
        except TimeoutError:
            return True
        return False

    async def _line(self) -> bytes:
        return await asyncio.wait_for(self._reader.readline(), _PATIENCE)

    def say(self, word: bytes) -> None:
        self._writer.write(word)

    async def leave(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


class Loading:
    def __init__(self, loader: ModelLoader, machine: Machine, path: str) -> None:
        self.loader = loader
        self.machine = machine
        self._path = path
        self._writers: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()

    async def ask(self, model: str) -> Worker:
        reader, writer = await asyncio.open_unix_connection(self._path)
        self._writers.append(writer)
        worker = Worker(reader, writer)
        worker.say(line(Wanted(model)))
        return worker

    async def hold(self, model: str) -> Worker:
        """A worker that has got the model."""
        worker = await self.ask(model)
        assert (await worker.answer()).engine
        return worker

    async def settle(self) -> None:
        """Everything that was said before has been heard: the loader turns an unknown model away."""
        with pytest.raises(msgspec.DecodeError):
            await (await self.ask("nobody")).answer()

    async def until(self, model: str, state: str) -> ModelState:
        for _ in range(3000):
            if self.machine.states[model].state == state:
                return self.machine.states[model]
            await asyncio.sleep(0.01)
        raise AssertionError(f"{model} is {self.machine.states[model]}")


@asynccontextmanager
async def loading(
    folder: Path, *names: str, most: int = 0, budget: int = 100, keep: float | None = None
) -> AsyncIterator[Loading]:
    """A loader of models of these names; each takes 10 bytes."""
    machine = Machine()
    models = [
        Loadable(launch=Launch(model=name, name=name, window=1), room="a window", bytes=10, keep_alive=keep)
        for name in names
    ]
    loader = ModelLoader(
        models,
        most=most,
        budget=budget,
        path=str(folder / "loader"),
        run=machine.run,  # type: ignore[arg-type]
        say=machine.said.append,
        publish=machine.publish,
        free=lambda: 1000,
    )
    loader.start()
    playing = Loading(loader, machine, str(folder / "loader"))
    try:
        yield playing
    finally:
        machine.held.set()
        await asyncio.to_thread(loader.stop)
        await playing.close()
        assert not machine.running, "engines outlive the loader"


@pytest.mark.parametrize("bounds", [{"most": 2}, {"budget": 25}], ids=["most", "memory"])
async def test_the_one_unused_for_longest_makes_room(tmp_path: Path, bounds: dict[str, int]) -> None:
    """Of two idle models, the one whose last request ended first is unloaded for a third, and only that one."""
    async with loading(tmp_path, "a", "b", "c", **bounds) as models:
        first, second = await models.hold("a"), await models.hold("b")
        second.say(IDLE)
        await models.settle()
        first.say(IDLE)
        await models.settle()
        third = await models.ask("c")
        await second.recalled()
        assert await third.quiet()
        assert models.machine.running == ["a", "b"]
        await second.leave()
        assert (await third.answer()).engine
        assert models.machine.running == ["a", "c"]
        assert models.machine.most == 2
        assert "b is unloaded: its room is needed for c" in models.machine.said


async def test_requests_under_way_are_never_cut(tmp_path: Path) -> None:
    """A model that is at work is recalled when every other is, too, and stopped only when its worker has let go."""
    async with loading(tmp_path, "a", "b", most=1) as models:
        busy = await models.hold("a")
        other = await models.ask("b")
        await busy.recalled()
        later = await models.ask("a")
        busy.say(IDLE)
        busy.say(BUSY)
        assert await other.quiet()
        assert models.machine.running == ["a"]
        await busy.leave()
        assert (await other.answer()).engine
        assert models.machine.running == ["b"]
        await other.recalled()
        await other.leave()
        assert (await later.answer()).engine


async def test_a_loaded_model_is_not_waited_for(tmp_path: Path) -> None:
    """A worker gets a model that is loaded although another model stands in the line and waits for room."""
    async with loading(tmp_path, "a", "b", "c", most=2) as models:
        first, second = await models.hold("a"), await models.hold("b")
        waiting = await models.ask("c")
        await first.recalled()
        assert await (await models.hold("b")).quiet()
        assert await second.quiet()
        assert await waiting.quiet()


async def test_everybody_who_waits_is_told_of_a_failure(tmp_path: Path) -> None:
    """A load that fails is told to all who wait for it, without the engine's log; the next request tries again."""
    async with loading(tmp_path, "a") as models:
        models.machine.broken["a"] = "its file is cut short"
        models.machine.held.clear()
        waiting = [await models.ask("a") for _ in range(3)]
        await models.settle()
        models.machine.held.set()
        assert [(await worker.answer()).error for worker in waiting] == ["its file is cut short"] * 3
        assert (await models.until("a", "unloaded")).failures == 1
        models.machine.broken.clear()
        assert await (await models.hold("a")).quiet()
        assert models.machine.states["a"].loads == 1


async def test_a_model_is_kept_alive_for_its_time(tmp_path: Path) -> None:
    """It is recalled when nobody has used it for so long, and not while somebody does."""
    async with loading(tmp_path, "a", keep=0.01) as models:
        worker = await models.hold("a")
        assert await worker.quiet()
        worker.say(IDLE)
        await worker.recalled()
        await worker.leave()
        assert (await models.until("a", "unloaded")).expired == 1


async def test_a_worker_that_dies_lets_go(tmp_path: Path) -> None:
    """Whoever hangs up, busy or in the line, holds nothing any more."""
    async with loading(tmp_path, "a", "b", "c", most=1) as models:
        dead, gone = await models.hold("a"), await models.ask("b")
        await gone.leave()
        await dead.leave()
        assert (await models.hold("c")).answer
        assert models.machine.running == ["c"]


async def test_a_model_beyond_the_budget_is_tried_alone(tmp_path: Path) -> None:
    """What a model takes is an estimate: with nothing else loaded it is given a try."""
    async with loading(tmp_path, "a", "b", budget=5) as models:
        first = await models.hold("a")
        second = await models.ask("b")
        await first.recalled()
        await first.leave()
        assert (await second.answer()).engine


async def test_a_name_that_is_not_loadable_is_turned_away(tmp_path: Path) -> None:
    """Nothing but a known model's name opens a hold."""
    async with loading(tmp_path, "a") as models:
        await models.settle()
        assert models.machine.states == {"a": ModelState()}


async def test_the_loader_stops_in_the_middle_of_a_load(tmp_path: Path) -> None:
    """A server that ends while a model loads leaves no engine behind, and does not begin the next load."""
    async with loading(tmp_path, "a", "b", most=1) as models:
        models.machine.held.clear()
        await models.ask("a")
        await models.until("a", "loading")
        assert await (await models.ask("b")).quiet()


@pytest.mark.parametrize("abort", [False, True])
async def test_weights_that_change(tmp_path: Path, abort: bool) -> None:
    """A model whose weights change is unloaded when its last request is over, or at once where that is asked for; then
    whoever asks gets an engine that was started afterwards."""
    async with loading(tmp_path, "a") as models:
        worker = await models.hold("a")
        worker.say(BUSY)
        await models.settle()
        unloading = asyncio.create_task(asyncio.to_thread(models.loader.unload, "a", abort=abort))
        if not abort:
            await asyncio.wait((unloading,), timeout=0.05)
            assert not unloading.done()
            await worker.leave()
        assert await asyncio.wait_for(unloading, 30) == "a"
        assert models.machine.states["a"].state == "unloaded"
        await models.hold("a")
        assert models.machine.states["a"].loads == 2
