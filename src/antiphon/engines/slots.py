"""Which slot of an engine a prompt goes to, so that a conversation finds its cache again.

An engine of several slots, left to itself, gives a prompt the slot whose tokens it shares most of; all that follows in
that slot is lost. So a side request with the same instructions (a sub-agent, a title) takes the slot of the main
conversation and leaves it the instructions alone. Here a prompt goes to the slot that it goes on from, else to the slot
of its own conversation, else to the one that is worth least: empty ones first, then conversations of a single request,
then the one that was silent for the longest time. Several workers share what is known in a file.

A prompt is known by a hash for each `PAGE` of its tokens, each over all tokens up to there: equal hashes are equal
beginnings.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

PAGE = 64
_HASH = 8
_KEPT = 0.95
"""A prompt goes on from a slot when it begins with this share of what the slot holds."""
ANY = -1
"""No slot is given: all are taken, or none is known. The engine chooses."""


class Slot(msgspec.Struct, array_like=True):
    """What is known of a slot: the hashes of the last prompt in it, its conversation, how many requests of that it has
    had, when the last began or ended, and the process that uses it now (0: none)."""

    pages: bytes = b""
    conversation: str = ""
    requests: int = 0
    used: float = 0.0
    process: int = 0


class Slots:
    """The slots of one engine: `count` of them, known to all workers that share the `file` (none: to this one alone).
    Times are monotonic seconds, the same for all processes."""

    def __init__(self, count: int, file: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._known = [Slot() for _ in range(count)]
        self._file = Path(file) if file else None
        self._clock = clock

    @contextlib.contextmanager
    def taken(self, prompt: Sequence[int], conversation: str | None, adapter: str = "") -> Iterator[int]:
        """Hold the slot for this prompt while the engine works on it. What was computed with one `adapter` is of no use
        to another."""
        if not self._known:
            yield ANY
            return
        pages = hashes(prompt, adapter)
        conversation = f"{adapter}:{conversation}" if conversation else ""
        with self._locked() as slots:
            at = _chosen(slots, pages, conversation)
            if at != ANY:
                slot = slots[at]
                goes_on = _shared(slot.pages, pages) >= _KEPT * len(slot.pages) and bool(slot.pages)
                requests = slot.requests + 1 if goes_on else 1
                slots[at] = Slot(pages, conversation, requests, self._clock(), os.getpid())
        try:
            yield at
        finally:
            if at != ANY:
                with self._locked() as slots:
                    slots[at].process, slots[at].used = 0, self._clock()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[list[Slot]]:
        """The slots, for this worker alone. Within one, nothing here awaits."""
        if self._file is None:
            yield self._known
            return
        import fcntl  # not on every system, and needed for several workers only

        handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            slots = self._read(handle)
            yield slots
            os.ftruncate(handle, 0)
            os.pwrite(handle, _encoder.encode(slots), 0)
        finally:
            os.close(handle)

    def _read(self, handle: int) -> list[Slot]:
        try:
            slots = _decoder.decode(os.pread(handle, os.fstat(handle).st_size, 0))
        except msgspec.MsgspecError:
            slots = []
        return slots if len(slots) == len(self._known) else [Slot() for _ in self._known]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Slot])


def hashes(prompt: Sequence[int], adapter: str = "") -> bytes:
    """The hashes of the whole pages of a prompt that the model reads with this adapter."""
    data, size = memoryview(array("i", prompt).tobytes()), PAGE * 4
    running, found = hashlib.blake2b(adapter.encode(), digest_size=_HASH), []
    for start in range(0, len(data) - size + 1, size):
        running.update(data[start : start + size])
        found.append(running.copy().digest())
    return b"".join(found)


def _shared(one: bytes, other: bytes) -> int:
    """How many leading bytes of hashes are equal: whole hashes."""
    most = min(len(one), len(other))
    low, high = 0, most // _HASH
    while low < high:
        # Each hash is over all before it: where one is equal, all before it are.
        middle = (low + high + 1) // 2
        end = middle * _HASH
        if one[end - _HASH : end] == other[end - _HASH : end]:
            low = middle
        else:
            high = middle - 1
    return low * _HASH


def _chosen(slots: list[Slot], pages: bytes, conversation: str) -> int:
    free = [at for at, slot in enumerate(slots) if not slot.process or not _alive(slot.process)]
    if not free:
        return ANY
    shared = {at: _shared(slots[at].pages, pages) for at in free}
    going_on = [at for at in free if slots[at].pages and shared[at] >= _KEPT * len(slots[at].pages)]
    if going_on:
        return max(going_on, key=lambda at: (shared[at], slots[at].conversation == conversation, slots[at].used))
    own = [at for at in free if conversation and slots[at].conversation == conversation and slots[at].requests]
    if own:
        return max(own, key=lambda at: (shared[at], slots[at].used))
    return min(free, key=lambda at: (bool(slots[at].pages), slots[at].requests > 1, slots[at].used))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
