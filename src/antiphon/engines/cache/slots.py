"""Which slot of an engine a prompt goes to, so that a conversation finds its cache again.

An engine of several slots, left to itself, gives a prompt the slot whose tokens it shares most of; all that follows in
that slot is lost. So a side request with the same instructions (a sub-agent, a title) takes the slot of the main
conversation and leaves it the instructions alone. Here a prompt goes to the slot that it goes on from, else to the slot
of its own conversation, else to the one that is worth least: empty ones first, then conversations of a single request,
then the one that was silent for the longest time. Several workers share what is known in a file. While a worker cannot
use it, any slot may come to hold anything without being noted, so that nothing is known of them until it can again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from antiphon.engines.cache.pages import Pages, common, shared
from antiphon.storage import files

_KEPT = 0.95
"""A prompt goes on from a slot when it begins with this share of what the slot holds."""
_QUIET, _RESTING, _LONG = 2.0, 10.0, 60.0
"""A slot is due after so many seconds of rest: when no other is at work, when others are, or (since its first token
that is not on disk) at the next end of a reply."""


class Process(NamedTuple):
    """A process: its number, and in what moment since boot it began (0: not known), because the system gives numbers
    again."""

    number: int = 0
    began: int = 0

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        try:
            os.kill(self.number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _began(self.number) in (0, self.began)


class Slot(msgspec.Struct, array_like=True):
    """What is known of a slot.

    It holds so many `tokens`, whose whole `pages` have these hashes (none where it is not known what it holds), of a
    `conversation` in a `domain`, of which it has had so many `requests`. `used` is when the last of them began or
    ended. `user` is the process that used it last, `busy` says that it still does. `stored` of the leading tokens are
    on disk, the others were computed from the time `since` on. `turn` is another number after each use."""

    pages: bytes = b""
    tokens: int = 0
    domain: bytes = b""
    conversation: str = ""
    requests: int = 0
    used: float = 0.0
    user: Process = Process()
    busy: bool = False
    stored: int = 0
    since: float = 0.0
    turn: int = 0

    @property
    def unstored(self) -> int:
        """How many tokens would be lost with the slot."""
        return max(self.tokens - self.stored, 0) if self.pages else 0

    @property
    def taken(self) -> bool:
        """Whether a process that lives works with it."""
        return self.busy and self.user.alive


class Taken(msgspec.Struct):
    """The slot at this index is held for a prompt. `before` is what it held, `slots` what all held."""

    index: int
    slot: Slot
    before: Slot
    slots: list[Slot]


class Slots:
    """The slots of one engine: `count` of them, known to all workers that share the `file` (none: to this one alone).
    Times are monotonic seconds, the same for all processes."""

    def __init__(self, count: int, file: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.count = count
        self.now = clock
        self._known = [Slot() for _ in range(count)]
        self._file = Path(file) if file else None
        self._held = set[int]()
        self._apart = False
        """Whether the file does not have what was done here last."""

    def take(self, pages: Pages, conversation: str = "", domain: bytes = b"") -> Taken | None:
        """A slot for this prompt, until `leave`; None when all are taken."""
        hashes = pages.hashes
        with self._locked() as slots:
            # What is held here stays held, also where the file does not tell of it.
            free = [at for at, slot in enumerate(slots) if not slot.taken and at not in self._held]
            index = _chosen(slots, free, hashes, conversation, domain)
            if index is None:
                return None
            before = slots[index]
            slots[index] = Slot(
                pages=hashes,
                tokens=pages.tokens,
                domain=domain,
                conversation=conversation,
                requests=before.requests + 1 if _goes_on(before, hashes) else 1,
                used=self.now(),
                user=_me(),
                busy=True,
                stored=min(before.stored, common(before.pages, hashes)),
                since=before.since if before.unstored else self.now(),
                turn=secrets.randbits(62),
            )
            self._held.add(index)
            return Taken(index, slots[index], before, list(slots))

    def leave(self, taken: Taken, pages: Pages | None) -> None:
        """The slot is free again, and holds what these pages are of; None where that is what it held before. Where its
        engine was started anew since it was taken, nobody knows which of the two worked with it."""
        slot = taken.slot
        if pages is None:
            slot = msgspec.structs.replace(taken.before, turn=slot.turn)
        else:
            slot.pages, slot.tokens = pages.hashes, pages.tokens
        slot.busy, slot.used = False, self.now()
        self._held.discard(taken.index)
        with self._locked() as slots:
            there = slots[taken.index]
            if there.turn == slot.turn:
                slots[taken.index] = slot
            elif not there.taken:
                slots[taken.index] = Slot()

    def stored(self, index: int, slot: Slot) -> None:
        """All that the slot holds is on disk, if it is still the same."""
        slot.stored = slot.tokens
        with self._locked() as slots:
            # Otherwise the engine was started anew, or somebody else has it by now.
            if slots[index].turn == slot.turn:
                slots[index] = slot

    def known(self) -> list[Slot]:
        """What is known of all."""
        with self._locked() as slots:
            return slots

    @contextlib.contextmanager
    def _locked(self) -> Iterator[list[Slot]]:
        """The slots, for this worker alone; unknown ones where the file cannot be had. Nothing in it awaits."""
        if self._file is None:
            yield self._known
            return
        unknown = [Slot() for _ in range(self.count)]
        with contextlib.ExitStack() as stack:
            try:
                handle = stack.enter_context(_locked_file(self._file, os.O_RDWR | os.O_CREAT))
                slots = self._read(handle)
            except OSError:
                self._apart = True
                yield unknown
                return
            if self._apart or len(slots) != self.count:
                # Since it failed, whichever slot the file tells of may have come to hold something else.
                slots = unknown
            yield slots
            self._apart = not _written(handle, slots)

    def _read(self, handle: int) -> list[Slot]:
        slots, me = _read(handle), _me()
        for at, slot in enumerate(slots):
            # The disk did not take that this process had let go of it.
            slot.busy = slot.busy and (slot.user != me or at in self._held)
        return slots


def forget(file: Path) -> None:
    """An engine is started, and its slots are empty. A process that holds one goes on to hold it, and runs in it
    afterwards. Raises OSError where the file cannot be had."""
    with contextlib.suppress(FileNotFoundError), _locked_file(file, os.O_RDWR) as handle:
        _written(handle, [Slot(user=slot.user, busy=True) if slot.taken else Slot() for slot in _read(handle)])


@contextlib.contextmanager
def _locked_file(path: Path, flags: int) -> Iterator[int]:
    import fcntl  # not on every system, and needed for several workers only

    handle = os.open(path, flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _read(handle: int) -> list[Slot]:
    try:
        return _decoder.decode(os.pread(handle, os.fstat(handle).st_size, 0))
    except msgspec.MsgspecError:
        return []


def _written(handle: int, slots: list[Slot]) -> bool:
    """Put the slots in the place of what the file has. Where the disk does not take them, the file has nothing."""
    content = _encoder.encode(slots)
    with contextlib.suppress(OSError):
        # Over what is there: a full disk takes what is not longer.
        files.write_all(handle, content)
        os.ftruncate(handle, len(content))
        return True
    with contextlib.suppress(OSError):
        os.ftruncate(handle, 0)
    return False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Slot])


def _goes_on(slot: Slot, pages: bytes) -> bool:
    return bool(slot.pages) and shared(slot.pages, pages) >= _KEPT * len(slot.pages)


def _chosen(slots: list[Slot], free: list[int], pages: bytes, conversation: str, domain: bytes) -> int | None:
    if not free:
        return None
    common = {index: shared(slots[index].pages, pages) for index in free}
    own = [
        index
        for index in free
        if conversation and slots[index].conversation == conversation and slots[index].domain == domain
    ]
    going_on = [index for index in free if _goes_on(slots[index], pages)]
    if going_on:
        return max(going_on, key=lambda index: (common[index], index in own, slots[index].used))
    if own:
        return max(own, key=lambda index: (common[index], slots[index].used))
    return min(free, key=lambda index: (bool(slots[index].pages), slots[index].requests > 1, slots[index].used))


def ours(slots: list[Slot]) -> list[int]:
    """The slots that this process has to look after: those that it used last, or that a dead one did."""
    free, me = [at for at, slot in enumerate(slots) if not slot.busy], _me()
    return [at for at in free if slots[at].user == me or not slots[at].user.alive]


def due(slots: list[Slot], index: int, now: float) -> bool:
    """Whether a slot is to be written now."""
    rest = _RESTING if any(slot.taken for slot in slots) else _QUIET
    return now - slots[index].used >= rest or now - slots[index].since >= _LONG


def _me() -> Process:
    return _running(os.getpid())


@cache
def _running(number: int) -> Process:
    """The process that runs this, which may have been forked since the last call."""
    return Process(number, _began(number))


def _began(process: int) -> int:
    """When a process began, in the kernel's ticks since boot; 0 where the system does not tell: Linux alone has it."""
    try:
        status = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return 0
    # The second field is the program's name, in parentheses: it may hold blanks and parentheses itself.
    return int(status.rpartition(b")")[2].split()[19])
