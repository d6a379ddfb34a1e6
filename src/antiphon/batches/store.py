"""Batches on disk, a folder each, so that none is lost when a server ends and every worker sees the same:

    about.json      whose it is, when it came, and with which headers
    requests.jsonl  a line for each request as it came: its `custom_id` and its `params`
    results.jsonl   a line for each answer so far, in the order in which they came
    cancelled       there once nobody wants the rest; its time is when that was said
    ended.json      when the last request was done with, and how many went how
    lock            held by the process that works on it

Only the owner can read them. Nothing here awaits: whoever has an event loop to look after calls it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Literal

import msgspec

LIFETIME = 24 * 3600.0
"""Seconds after which what is left of a batch expires."""
KEPT = 29 * 24 * 3600.0
"""Seconds for which a batch that is over can be asked for, from when it was made."""
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

    def create(self, about: About, lines: Iterable[bytes]) -> Batch:
        """Keep a new batch. Whoever looks sees all of it or nothing. Raises OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=self._folder, prefix="new-"))
        try:
            with (draft / "requests.jsonl").open("wb") as file:
                file.writelines(line + b"\n" for line in lines)
            (draft / "about.json").write_bytes(msgspec.json.encode(about))
            draft.rename(self._folder / about.id)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return Batch(about=about, cancelled=None, ended=None)

    def get(self, id: str) -> Batch | None:
        """A batch, if there is one of this id."""
        if not _ID.match(id):
            return None
        place = self._folder / id
        try:
            about = _about.decode((place / "about.json").read_bytes())
        except (OSError, msgspec.MsgspecError):
            return None
        cancelled, ended = None, None
        with contextlib.suppress(OSError):
            cancelled = (place / "cancelled").stat().st_mtime
        with contextlib.suppress(OSError):
            ended = _ended.decode((place / "ended.json").read_bytes())
        return Batch(about=about, cancelled=cancelled, ended=ended)

    def all(self) -> list[Batch]:
        """Every batch, the latest first."""
        return self._listed(self._names())

    def _names(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError:
            return []

    def _listed(self, names: Iterable[str]) -> list[Batch]:
        found = [batch for name in names if (batch := self.get(name)) is not None]
        return sorted(found, key=lambda batch: (batch.about.created, batch.about.id), reverse=True)

    def cancel(self, id: str) -> None:
        """Nobody wants the rest of it. The first to say so counts."""
        with contextlib.suppress(FileExistsError):
            (self._folder / id / "cancelled").touch(mode=0o600, exist_ok=False)

    def delete(self, id: str) -> None:
        """Forget a batch."""
        shutil.rmtree(self._folder / id, ignore_errors=True)

    def results(self, id: str) -> Path:
        """The file of its answers."""
        return self._folder / id / "results.jsonl"

    def sweep(self) -> None:
        """Forget what is over and has been kept for long enough."""
        for batch in self.all():
            if batch.ended is not None and time.time() - batch.about.created > KEPT:
                self.delete(batch.about.id)

    def unfinished(self) -> list[Batch]:
        """The batches that are not over, the oldest first."""
        # Asked again and again: what is over is told by one look at it.
        return self._listed(name for name in self._names() if not (self._folder / name / "ended.json").exists())[::-1]

    @contextlib.contextmanager
    def claimed(self, id: str) -> Iterator[bool]:
        """Whether this process has a batch to itself, for as long as it lasts. What another one held that died is free
        again."""
        import fcntl  # not on every system, and needed for batches only

        handle = os.open(self._folder / id / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            batch = self.get(id)
            yield batch is not None and batch.ended is None
        finally:
            os.close(handle)


class Work:
    """A claimed batch from inside: what is left of it to do, and where the answers go."""

    def __init__(self, store: Store, batch: Batch) -> None:
        self._place = store.results(batch.about.id).parent
        self._counts = Counts()
        self._done = self._recovered()
        self._file: IO[bytes] = self._open()

    def _open(self) -> IO[bytes]:
        return os.fdopen(os.open(self._place / "results.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "wb", 0)

    def _recovered(self) -> set[str]:
        """What was answered before, by a process that is no more. A line that it could not finish is dropped."""
        done, whole = set[str](), 0
        with contextlib.suppress(FileNotFoundError), (self._place / "results.jsonl").open("rb+") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(whole)
                    break
                whole += len(line)
                answer = _answer.decode(line)
                done.add(answer.custom_id)
                self._count(answer.result.type)
        return done

    def left(self) -> Iterator[Asked]:
        """The requests without an answer, in their order."""
        with (self._place / "requests.jsonl").open("rb") as file:
            for line in file:
                asked = _asked.decode(line)
                if asked.custom_id not in self._done:
                    yield asked

    def answer(self, custom_id: str, result: Mapping[str, object]) -> None:
        """Keep the answer to a request: `type` is how it went."""
        line = msgspec.json.encode({"custom_id": custom_id, "result": result}) + b"\n"
        self._file.write(line)
        self._done.add(custom_id)
        self._count(str(result["type"]))

    def _count(self, how: str) -> None:
        setattr(self._counts, how, getattr(self._counts, how) + 1)

    def end(self, at: float) -> None:
        """All of it is done with."""
        draft = self._place / "ended.new"
        draft.write_bytes(msgspec.json.encode(Ended(at, self._counts)))
        draft.replace(self._place / "ended.json")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class Asked(msgspec.Struct):
    """A request of a batch; `params` is the body of a request by itself."""

    custom_id: str
    params: msgspec.Raw


class _How(msgspec.Struct):
    type: Literal["succeeded", "errored", "canceled", "expired"]


class _Answer(msgspec.Struct):
    custom_id: str
    result: _How


_asked = msgspec.json.Decoder(Asked)
_answer = msgspec.json.Decoder(_Answer)
