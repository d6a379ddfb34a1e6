"""How far a batch is: its requests without an answer, and where the answers go.

Every request gets exactly one. Which requests were begun is taken down, too: one that was running when the server died,
again and again, may be what it died of. A line of `begun` is a request's id after a `+` when it is begun, after a `-`
when it is let go of because the server is asked to stop.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Literal

import msgspec

from antiphon.batches.store import Batch, Counts, Ended, Store
from antiphon.storage import files
from antiphon.storage.lines import Lines, one_line, whole_lines

_NAMED = re.compile(rb'\{"custom_id":"([a-zA-Z0-9_-]{1,64})"')


class BatchItem(msgspec.Struct):
    """A request of a batch; `params` is the body of a request by itself. `trouble` is what keeps it from being asked,
    in a sentence."""

    custom_id: str
    params: msgspec.Raw
    trouble: str = ""


class _Kept(msgspec.Struct):
    custom_id: str
    params: msgspec.Raw


class _How(msgspec.Struct):
    type: Literal["succeeded", "errored", "canceled", "expired"]


class _Answer(msgspec.Struct):
    custom_id: str
    result: _How


_kept = msgspec.json.Decoder(_Kept)
_answer = msgspec.json.Decoder(_Answer)
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Progress:
    """The progress of a claimed batch. Whatever writes may be called in any thread, raises OSError, and can then be
    called again."""

    def __init__(self, store: Store, batch: Batch) -> None:
        self._folder = store.folder(batch.about.id)
        self._total = batch.about.total
        self._counts = Counts()
        self._done = self._recovered()
        self._deaths = self._counted()
        self._lock = threading.Lock()
        self._closed = False
        self._results = Lines(self._folder / "results.jsonl")
        try:
            self._begun = Lines(self._folder / "begun")
        except OSError:
            self._results.close()
            raise

    def _recovered(self) -> set[str]:
        """What was answered before, by a process that is no more."""
        done, lines = set[str](), 0
        with contextlib.suppress(FileNotFoundError):
            for line in whole_lines(self._folder / "results.jsonl"):
                lines += 1
                answer = _answered(line)
                if answer and answer.custom_id not in done:
                    done.add(answer.custom_id)
                    self._count(answer.result.type)
        if lines > len(done):
            self._mend()
        return done

    def _mend(self) -> None:
        """Take lines that are no answers, and second answers, out of the file."""
        good = dict[str, bytes]()
        for line in whole_lines(self._folder / "results.jsonl"):
            if answer := _answered(line):
                good.setdefault(answer.custom_id, line + b"\n")
        files.write(self._folder / "results.jsonl", b"".join(good.values()))

    def _counted(self) -> Counter[str]:
        """How often each request was running when the server ended without a word."""
        deaths = Counter[str]()
        with contextlib.suppress(FileNotFoundError):
            for line in whole_lines(self._folder / "begun"):
                deaths[line[1:].decode("ascii", "replace")] += 1 if line.startswith(b"+") else -1
        return deaths

    def deaths(self, custom_id: str) -> int:
        """How often the server has died while it worked on this request."""
        return max(0, self._deaths[custom_id])

    def left(self, *, reachable: bool = True) -> Iterator[BatchItem]:
        """The requests without an answer, in their order. Those that are no longer to be found in the file are told by
        their place in the batch. Raises OSError where the file cannot be read; without `reachable`, what is in it then
        counts as lost."""
        done, seen = frozenset(self._done), set[str]()
        try:
            for asked in self._lines():
                seen.add(asked.custom_id)
                if asked.custom_id not in done:
                    yield asked
        except FileNotFoundError:
            pass
        except OSError:
            if reachable:
                raise
        unnamed = (id for place in range(self._total) if (id := _unnamed(place)) not in done)
        for id in islice(unnamed, self._total - len(seen | done)):
            yield BatchItem(id, msgspec.Raw(b""), "the file in which this request was kept has lost it")

    def _lines(self) -> Iterator[BatchItem]:
        for place, line in enumerate(whole_lines(self._folder / "requests.jsonl")):
            try:
                kept = _kept.decode(line)
                yield BatchItem(kept.custom_id, kept.params)
            except _UNREADABLE as error:
                named = _NAMED.match(line)
                id = named[1].decode() if named else _unnamed(place)
                yield BatchItem(
                    id, msgspec.Raw(b""), f"the line in which this request was kept cannot be read: {error}"
                )

    def begin(self, custom_id: str) -> None:
        """Take down that a request is begun."""
        self._note(b"+", custom_id)

    def let_go(self, custom_id: str) -> None:
        """Take down that it was not this request that ended the server."""
        self._note(b"-", custom_id)

    def _note(self, sign: bytes, custom_id: str) -> None:
        with self._lock:
            if not self._closed:
                self._begun.add(sign + custom_id.encode())

    def answer(self, custom_id: str, result: Mapping[str, Any]) -> None:
        """Keep the answer to a request, if it has none yet: `type` is how it went, JSON in it is `msgspec.Raw`. Raises
        ValueError and RecursionError where that is none."""
        lines = {name: _in_line(value) for name, value in result.items()}
        line = msgspec.json.encode({"custom_id": custom_id, "result": lines})
        with self._lock:
            if not self._closed and custom_id not in self._done:
                self._results.add(line)
                self._done.add(custom_id)
                self._count(result["type"])

    def _count(self, how: str) -> None:
        setattr(self._counts, how, getattr(self._counts, how) + 1)

    def end(self, at: float) -> None:
        """All of it is done with, since then (Unix seconds)."""
        with self._lock:
            self._results.settle()
            files.write(self._folder / "ended.json", msgspec.json.encode(Ended(at, self._counts)))

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            self._closed = True
            self._results.close()
            self._begun.close()


def _unnamed(place: int) -> str:
    """What stands for the id of a request that has none any more. No client's id has a full stop in it."""
    return f"requests.{place}"


def _answered(line: bytes) -> _Answer | None:
    try:
        return _answer.decode(line)
    except _UNREADABLE:
        return None


def _in_line(value: Any) -> Any:
    return msgspec.Raw(one_line(bytes(value))) if isinstance(value, msgspec.Raw) else value
