"""Batches on disk, a folder each, so that none is lost when a server ends and every worker sees the same:

    about.json      whose it is, when it came, and with which headers
    requests.jsonl  a line for each request as it came: its `custom_id` and its `params`
    results.jsonl   a line for each answer so far, in the order in which they came
    begun           a line for each request that was begun, and for each that was let go of (`progress.py`)
    cancelled       there once nobody wants the rest; its time is when that was said
    ended.json      when the last request was done with, and how many went how
    lock            held by the process that works on it

A folder whose name begins with `new-` is being written, one with `old-` is being taken away. Only the owner can read
them. Nothing here awaits: whoever has an event loop to look after calls it in a thread. A disk that cannot be written
or read raises OSError.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from antiphon.storage import files
from antiphon.storage.lines import Lines

LIFETIME = 24 * 3600.0
"""Seconds after which what is left of a batch expires."""
KEPT = 29 * 24 * 3600.0
"""Seconds for which a batch that is over can be asked for, from when it was made."""
_OLD = "old-"
_LEFT_BEHIND = 3600.0
"""Seconds after which whoever was writing a folder or taking it away is no more."""
_T = TypeVar("_T")
_ID = re.compile(r"msgbatch_[0-9A-Za-z]{1,64}\Z")


class Counts(msgspec.Struct, kw_only=True):
    """How the requests of a batch went. Until all of it is over, all of them count as being processed."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class About(msgspec.Struct, kw_only=True):
    """What is known of a batch from the beginning. `key` is the label of the key that sent it, `created` Unix seconds,
    `total` the number of its requests; `headers` go with each of them."""

    id: str
    key: str
    created: float
    total: int
    headers: dict[str, str]

    @property
    def expires(self) -> float:
        """When what is left of it expires, in Unix seconds."""
        return self.created + LIFETIME


class Ended(msgspec.Struct):
    """When a batch was over, in Unix seconds, and how it went."""

    at: float
    counts: Counts


class Batch(msgspec.Struct, kw_only=True):
    """A batch as it stands. `cancelled` is when its client gave up the rest of it, in Unix seconds."""

    about: About
    cancelled: float | None
    ended: Ended | None

    @property
    def status(self) -> Literal["in_progress", "canceling", "ended"]:
        """How far it is, in the API's words."""
        if self.ended is not None:
            return "ended"
        return "canceling" if self.cancelled is not None else "in_progress"


_about = msgspec.json.Decoder(About)
_ended = msgspec.json.Decoder(Ended)


class Store:
    """The batches in a folder, which is made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._over = set[str]()

    def create(self, about: About, lines: Iterable[bytes]) -> Batch:
        """Keep a new batch, a line for each request. Whoever looks sees all of it or nothing, after a loss of power
        too. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=self._folder, prefix=files.DRAFT))
        try:
            with contextlib.closing(Lines(draft / "requests.jsonl")) as requests:
                for line in lines:
                    requests.add(line)
                requests.settle()
            files.write(draft / "about.json", msgspec.json.encode(about))
            draft.rename(self._folder / about.id)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        files.settle(self._folder)
        return Batch(about=about, cancelled=None, ended=None)

    def get(self, id: str) -> Batch | None:
        """A batch, if there is one of this id. Raises OSError where that cannot be seen."""
        if not _ID.match(id):
            return None
        place = self._folder / id
        about, ended, cancelled = _read(place / "about.json", _about), _read(place / "ended.json", _ended), None
        with contextlib.suppress(FileNotFoundError):
            cancelled = (place / "cancelled").stat().st_mtime
        return Batch(about=about, cancelled=cancelled, ended=ended) if about else None

    def all(self) -> list[Batch]:
        """Every batch that can be read, the latest first."""
        return self._listed(self._names())

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except FileNotFoundError:
            return []

    def _listed(self, names: Iterable[str]) -> list[Batch]:
        found = list[Batch]()
        for name in names:
            # One that cannot be read must not hide the others.
            with contextlib.suppress(OSError):
                if batch := self.get(name):
                    found.append(batch)
        return sorted(found, key=lambda batch: (batch.about.created, batch.about.id), reverse=True)

    def cancel(self, id: str) -> None:
        """Nobody wants the rest of it. The first to say so counts."""
        with contextlib.suppress(FileExistsError):
            (self._folder / id / "cancelled").touch(mode=0o600, exist_ok=False)

    def delete(self, id: str) -> None:
        """Forget a batch."""
        old = self._folder / f"{_OLD}{id}"
        # In one step, so that one of which only a part is left is not taken for one that has work to do.
        (self._folder / id).rename(old)
        shutil.rmtree(old, ignore_errors=True)

    def folder(self, id: str) -> Path:
        """Where the files of a batch are."""
        return self._folder / id

    def results(self, id: str) -> Path:
        """The file of its answers."""
        return self.folder(id) / "results.jsonl"

    def sweep(self) -> None:
        """Forget what is over and has been kept for long enough, and what was left behind half written or half taken
        away."""
        for batch in self.all():
            if batch.ended is not None and time.time() - batch.about.created > KEPT:
                self.delete(batch.about.id)
        for name in self._names():
            place = self._folder / name
            if name.startswith((files.DRAFT, _OLD)) and time.time() - place.stat().st_mtime > _LEFT_BEHIND:
                shutil.rmtree(place, ignore_errors=True)

    def unfinished(self) -> list[Batch]:
        """The batches that are not over, the oldest first."""
        # Asked again and again, and most of what is kept is over.
        found = self._listed(name for name in self._names() if name not in self._over)
        self._over |= {batch.about.id for batch in found if batch.ended}
        return [batch for batch in reversed(found) if not batch.ended]

    @contextlib.contextmanager
    def claimed(self, id: str) -> Iterator[bool]:
        """Whether this process has a batch to itself, for as long as it lasts. What another one held that died is free
        again."""
        import fcntl  # not on every system, and needed for batches only

        handle = os.open(self.folder(id) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            batch = self.get(id)
            yield batch is not None and batch.ended is None
        finally:
            os.close(handle)


def _read(path: Path, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    """What is in a file; nothing where it is not there or holds something else."""
    try:
        return decoder.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
