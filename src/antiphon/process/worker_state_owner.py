"""The supervisor's side of what it shares with its workers (`worker_state.py`): it makes the folder, and removes it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from antiphon.engines.cache import slots
from antiphon.observability.model_states import ModelState
from antiphon.process.worker_state import Reloaded, Restart, file_name, reload_file, slots_name
from antiphon.storage import files

log = logging.getLogger("antiphon")

_PREFIX = "run-"
# Bytes of a socket's path that every system takes.
_LONGEST_SOCKET = 100
# A folder that nobody holds may be one that is being made.
_YOUNG = 60.0
# Between two attempts to write what workers wait for, in seconds.
_AGAIN = 1.0


class WorkerStateOwner:
    """The supervisor's view: makes the folder within `place`, and removes it. When that cannot be written, the folder
    is made where files are kept in memory or for a while, and `trouble` says why. Raises OSError where there is no such
    place either."""

    def __init__(self, place: Path) -> None:
        self.trouble: OSError | None = None
        self._elsewhere = ""
        self._closed = threading.Event()
        try:
            self.folder = _create(place, _PREFIX)
        except OSError as error:
            # No first choice: what is a few days old may be cleaned away there, and this runs for weeks.
            self.trouble = error
            self.folder = _create_elsewhere(error)
        # Opened for both, because opening for writing alone would wait for a reader.
        self._pipe = os.open(Path(self.folder) / "stopping", os.O_RDWR | os.O_NONBLOCK)
        self._lock = _held(Path(self.folder))

    @property
    def metrics(self) -> str:
        """The folder of the workers' metrics."""
        return str(Path(self.folder) / "metrics")

    def stop(self) -> None:
        """Tell the workers that the server was asked to stop."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def crashes(self, model: str, sentence: str) -> None:
        """Tell the workers how it is with a model's engine that keeps dying; nothing when it is well again."""
        file = Path(self.folder) / "crashes" / f"{file_name(model)}.txt"
        with contextlib.suppress(OSError):
            if sentence:
                files.write(file, sentence.encode(), durable=False)
            else:
                file.unlink(missing_ok=True)

    def models(self, states: Mapping[str, ModelState]) -> None:
        """Tell the workers how it is with each model that is loaded when it is needed."""
        with contextlib.suppress(OSError):
            files.write(Path(self.folder) / "models", msgspec.json.encode(states), durable=False)

    @property
    def loader(self) -> str:
        """The socket of the loader of models. Where the folder's name is too long for one, it is elsewhere."""
        path = str(Path(self.folder) / "loader")
        if len(path.encode()) > _LONGEST_SOCKET:
            self._elsewhere = self._elsewhere or tempfile.mkdtemp(prefix=f"antiphon-{_PREFIX}")
            path = str(Path(self._elsewhere) / "loader")
        return path

    def vocabulary(self, model: str) -> Path:
        """The file for the vocabulary of a model."""
        folder = Path(self.folder) / "vocabulary"
        folder.mkdir(exist_ok=True)
        return folder / f"{file_name(model)}.gguf"

    def note_reloaded(self, model: str, outcome: Reloaded) -> None:
        """Tell the workers how the restart of a model's engine went. They keep its requests waiting until they know, so
        this tries until it is written or the folder goes. Until then no other engine is restarted, of which they could
        not be told either."""
        warned = False
        while not self._closed.is_set():
            try:
                files.write(reload_file(self.folder, model), msgspec.json.encode(outcome), durable=False)
            except OSError as error:
                if not warned:
                    what = f"that {model} was restarted, for which its requests wait,"
                    log.warning("%s", files.refusal(what, error, self.folder, "--state-dir"))
                    warned = True
                self._closed.wait(_AGAIN)
            else:
                return

    def restarts(self, restart: Callable[[Restart], None]) -> None:
        """Call this, on a thread, for each engine that is to be started again."""

        # Opened for both, so that it does not end when a worker has written.
        pipe = os.open(Path(self.folder) / "restarts", os.O_RDWR)

        def listen() -> None:
            with open(pipe, "rb") as lines:
                for line in lines:
                    restart(msgspec.json.decode(line, type=Restart))

        threading.Thread(target=listen, name="restarts", daemon=True).start()

    def forget_slots(self, model: str) -> None:
        """A model's engine is started, and holds nothing."""
        # Where the disk fails, the workers cannot note anything either, and take nothing to be known.
        with contextlib.suppress(OSError):
            slots.forget(Path(self.folder) / slots_name(model))

    def close(self) -> None:
        """Remove the folder."""
        self._closed.set()
        self.stop()
        for folder in filter(None, (self.folder, self._elsewhere)):
            shutil.rmtree(folder, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _create(place: Path, prefix: str) -> str:
    place.mkdir(parents=True, exist_ok=True)
    _sweep(place, prefix)
    folder = Path(tempfile.mkdtemp(dir=place, prefix=prefix))
    try:
        for name in ("metrics", "crashes", "reload"):
            (folder / name).mkdir()
        for name in ("stopping", "restarts"):
            os.mkfifo(folder / name, 0o600)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return str(folder)


def _create_elsewhere(error: OSError) -> str:
    for place in ("/dev/shm", tempfile.gettempdir()):
        with contextlib.suppress(OSError):
            return _create(Path(place), f"antiphon-{_PREFIX}")
    raise error


def _held(folder: Path) -> int:
    """A folder that is locked for as long as this handle is open; -1 where that cannot be. Raises BlockingIOError when
    another process has it."""
    import fcntl  # not on every system, like the pipes

    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return -1
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            raise
        return -1
    return handle


def _sweep(place: Path, prefix: str) -> None:
    """Remove what servers left behind that were killed: nobody holds these folders, nor their pipes, any more. A server
    that lets its streams end has let go of its pipe; one of an earlier version has no more than that."""
    for folder in place.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _YOUNG:
                handle = _held(folder)
                try:
                    if _unread(folder / "stopping"):
                        shutil.rmtree(folder, ignore_errors=True)
                finally:
                    if handle >= 0:
                        os.close(handle)


def _unread(pipe: Path) -> bool:
    """Whether nobody has a pipe open. Raises OSError where there is none."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return True
    return False
