"""What is known of a model that can be loaded: its engine, and the workers that want or hold it."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import msgspec

from antiphon.engines.embedded import Launch
from antiphon.observability.model_states import ModelState
from antiphon.process.engine_process import EngineProcess
from antiphon.process.load_protocol import RECALL, Loaded, line


class Loadable(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be loaded: how, what it gets in words, the bytes of memory that it takes, and for how many
    seconds it stays when nobody uses it (None: until its room is needed)."""

    launch: Launch
    room: str
    bytes: int
    keep_alive: float | None


class Holder:
    """A worker that wants or holds a model. It is `busy` while it has requests under way."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.busy = True
        self._writer = writer

    def grant(self, answer: Loaded) -> None:
        """Say where the engine is, or why there is none."""
        self._writer.write(line(answer))

    def recall(self) -> None:
        """Say that the model is to be unloaded."""
        self._writer.write(RECALL)


class LoadableModel:
    """A model and what the loader does with it. `unloading` holds those who wait until it is unloaded, `recalled` says
    in words why it is to be (empty: it is not). `loaded_at` and `used_at` are in seconds of the monotonic clock."""

    def __init__(self, loadable: Loadable) -> None:
        self.loadable = loadable
        self.name = loadable.launch.name
        self.status = ModelState(state="unloaded")
        self.engine: EngineProcess | None = None
        self.address = ""
        self.waiting: list[Holder] = []
        self.holders: list[Holder] = []
        self.unloading: list[Future[None]] = []
        self.recalled = ""
        self.loaded_at = self.used_at = 0.0
        self.expiry: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        """Whether a worker has requests under way."""
        return any(holder.busy for holder in self.holders)

    def stop_expiry(self) -> None:
        """Let it stay loaded, whatever timer was set."""
        if self.expiry:
            self.expiry.cancel()
            self.expiry = None

    def settle_unloading(self) -> None:
        """Tell those who wait for it that it is unloaded."""
        waiting, self.unloading = self.unloading, []
        for done in waiting:
            done.set_result(None)
