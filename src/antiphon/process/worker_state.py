"""What the supervisor and its workers share while the server runs: one folder of small files, gone when it ends.

    stopping    a pipe without words: the supervisor holds its end open, and lets go when it is asked to stop
    crashes/    for each engine that dies again and again, a sentence
    limits      what each key has used (`serving/rate_limits.py`)
    slots-…     what is in the slots of each embedded engine (`engines/cache/slots.py`)
    remembered/ the tokens of each model's conversations (`transcript_store.py`), when there are several workers
    seal.key    the key that seals thinking (`seal_key.py`), when the state folder has no room for it
    reload/     for each model, what keeps requests away while its weights change (`reload_gate.py`), and when they did
    restarts    a pipe: which engines are to be started again, one on each line
    models      how it is with each model that is loaded when it is needed (`observability/model_states.py`)
    vocabulary/ the vocabularies of these, as files that the engine reads
    metrics/    what each worker has counted (`observability/metrics.py`), when there are several

A worker that runs without a supervisor has no folder, and none of this happens. `worker_state_owner.py` is the
supervisor's side.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from antiphon.observability.model_states import ModelState
from antiphon.process.reload_gate import ReloadGate
from antiphon.storage import files

log = logging.getLogger("antiphon")

# What prometheus-client reads when `metrics.py` is imported in a worker; importing it here would be too early.
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Its files, one for each kind of metric there is, and the size that it gives them at first.
_METRICS = ("counter", "gauge_livesum", "histogram")
_METRICS_SIZE = 1 << 20
_UNSAFE = re.compile(r"[^\w.-]+")


def file_name(model: str) -> str:
    """A model's name as one of a file, in which two models never share."""
    return f"{_UNSAFE.sub('-', model)[:60]}-{hashlib.blake2b(model.encode(), digest_size=4).hexdigest()}"


def slots_name(model: str) -> str:
    """The name of the file of what is in the slots of a model's engine."""
    return f"slots-{file_name(model)}"


def reserve_metrics() -> None:
    """Take room on the disk for what this worker counts, before anything is counted. prometheus-client maps its files
    into memory, and a worker that found no room behind such a page would die of it. Where there is none, each worker
    counts by itself."""
    folder = os.environ.get(METRICS_VARIABLE)
    if not folder:
        return
    try:
        for kind in _METRICS:
            handle = os.open(Path(folder) / f"{kind}_{os.getpid()}.db", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                files.reserve(handle, _METRICS_SIZE)
            finally:
                os.close(handle)
    except OSError as error:
        del os.environ[METRICS_VARIABLE]
        log.warning("each worker reports only its own metrics: %s: %s", folder, files.reason(error))


class Reloaded(msgspec.Struct, frozen=True):
    """When a model's engine took its weights anew, in Unix seconds, or why it could not (empty: it could). `weights` is
    where they are, if the engine was told that."""

    time: float
    error: str = ""
    weights: str = ""


class Restart(msgspec.Struct, frozen=True):
    """A model's engine is to be started again: at once (`abort`), or when nobody uses it."""

    model: str
    abort: bool = False


def reload_file(folder: str, model: str) -> Path:
    """The file of how a model's last reload went."""
    return Path(folder) / "reload" / f"{file_name(model)}.json"


class WorkerState:
    """A worker's view of the folder; an empty path means there is none."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._pipe = -1

    @property
    def limits(self) -> str:
        """The file of the limits; empty when there is no folder."""
        return str(Path(self._folder) / "limits") if self._folder else ""

    @property
    def remembered(self) -> str:
        """The folder of the conversations; empty when there is no folder."""
        return str(Path(self._folder) / "remembered") if self._folder else ""

    def slots(self, model: str) -> str:
        """The file of what is in the slots of a model's engine; empty when there is no folder."""
        return str(Path(self._folder) / slots_name(model)) if self._folder else ""

    def crashes(self) -> str:
        """What there is to say of engines that die again and again; mostly nothing."""
        if not self._folder:
            return ""
        lines = []
        for file in sorted((Path(self._folder) / "crashes").glob("*.txt")):
            with contextlib.suppress(OSError):
                lines.append(file.read_text("utf-8"))
        return "; ".join(lines)

    def models(self) -> dict[str, ModelState]:
        """How it is with each model that is loaded when it is needed."""
        try:
            return msgspec.json.decode((Path(self._folder) / "models").read_bytes(), type=dict[str, ModelState])
        except (OSError, msgspec.MsgspecError):
            return {}

    def reload_gate(self, model: str) -> ReloadGate | None:
        """What keeps requests to a model away while its weights change; None when there is no folder."""
        return ReloadGate(Path(self._folder) / "reload" / file_name(model)) if self._folder else None

    def reloaded(self, model: str) -> Reloaded | None:
        """How a model's last reload went; None before the first one."""
        if not self._folder:
            return None
        try:
            return msgspec.json.decode(reload_file(self._folder, model).read_bytes(), type=Reloaded)
        except (OSError, msgspec.MsgspecError):
            return None

    def note_reloaded(self, model: str, outcome: Reloaded) -> None:
        """A model's engine has taken its weights anew, or could not. Raises OSError."""
        files.write(reload_file(self._folder, model), msgspec.json.encode(outcome), durable=False)

    def restart(self, request: Restart) -> None:
        """Have a model's engine started again; `reloaded` tells when that is done. Raises OSError."""
        pipe = os.open(Path(self._folder) / "restarts", os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(pipe, msgspec.json.encode(request) + b"\n")
        finally:
            os.close(pipe)

    def when_stopping(self, act: Callable[[], None]) -> None:
        """Act, on the running loop, when the server is asked to stop."""
        if not self._folder:
            return
        loop = asyncio.get_running_loop()

        def ended() -> None:
            self.close()
            act()

        self._pipe = os.open(Path(self._folder) / "stopping", os.O_RDONLY | os.O_NONBLOCK)
        loop.add_reader(self._pipe, ended)

    def close(self) -> None:
        """Stop listening."""
        if self._pipe >= 0:
            asyncio.get_running_loop().remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
