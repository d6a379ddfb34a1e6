"""What the supervisor and its workers share while the server runs: one folder of small files, gone when it ends.

    stopping    a pipe without words: the supervisor holds its end open, and lets go when it is asked to stop
    crashes/    for each engine that dies again and again, a sentence
    limits      what each key has used (`serving/rate_limits.py`)
    slots-…     what is in the slots of each embedded engine (`engines/slots.py`)
    remembered/ the tokens of each model's conversations (`transcript_store.py`), when there are several workers
    metrics/    what each worker has counted (`observability/metrics.py`), when there are several

A worker that runs without a supervisor has no folder, and none of this happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_PREFIX = "run-"
_UNSAFE = re.compile(r"[^\w.-]+")
# A folder without a pipe's reader may be one that is being made.
_YOUNG = 60.0


def file_name(model: str) -> str:
    """A model's name as one of a file, in which two models never share."""
    return f"{_UNSAFE.sub('-', model)[:60]}-{hashlib.blake2b(model.encode(), digest_size=4).hexdigest()}"


def _slots(model: str) -> str:
    return f"slots-{file_name(model)}"


class Shared:
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
        return str(Path(self._folder) / _slots(model)) if self._folder else ""

    def crashes(self) -> str:
        """What there is to say of engines that die again and again; mostly nothing."""
        if not self._folder:
            return ""
        told = []
        for file in sorted((Path(self._folder) / "crashes").glob("*.txt")):
            with contextlib.suppress(OSError):
                told.append(file.read_text("utf-8"))
        return "; ".join(told)

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


class Sharing:
    """The supervisor's view: makes the folder within `place`, and removes it."""

    def __init__(self, place: Path) -> None:
        # Not among temporary files: what is a few days old is cleaned away there, and this runs for weeks.
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place)
        self.folder = tempfile.mkdtemp(dir=place, prefix=_PREFIX)
        for name in ("metrics", "crashes"):
            (Path(self.folder) / name).mkdir()
        os.mkfifo(Path(self.folder) / "stopping", 0o600)
        # Opened for both, because opening for writing alone would wait for a reader.
        self._pipe = os.open(Path(self.folder) / "stopping", os.O_RDWR | os.O_NONBLOCK)

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
                draft = file.with_suffix(".new")
                draft.write_text(sentence, "utf-8")
                draft.replace(file)
            else:
                file.unlink(missing_ok=True)

    def forget_slots(self, model: str) -> None:
        """A model's engine is started, and holds nothing."""
        (Path(self.folder) / _slots(model)).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove what servers left behind that were killed: in their folders nobody holds the pipe any more."""
    for folder in place.glob(f"{_PREFIX}*"):
        try:
            if time.time() - folder.stat().st_mtime > _YOUNG:
                os.close(os.open(folder / "stopping", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno == errno.ENXIO:
                shutil.rmtree(folder, ignore_errors=True)
