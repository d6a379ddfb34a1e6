"""The line in front of an engine: as many requests at work as it has slots, the others waiting in a fair order.

Of those that wait, the next is one of the key with the fewest requests at work, or of several such keys of the one
whose last turn was the longest ago; of its requests, the earliest, where a prompt counts as later the longer it is. So
a short prompt overtakes long ones that came a little before it, and a long one is overtaken for `LONGEST_HANDICAP`
seconds at most. Patient requests (those of batches) come after all others. Where one key has filled the line, others
may still wait, each up to its share of it. No task of its own: who leaves lets the next one in.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from antiphon.api.errors import Overloaded
from antiphon.observability import metrics

HANDICAP = 0.001
"""Seconds by which a token of its prompt makes a request later: about what it takes to compute one on a processor."""
LONGEST_HANDICAP = 10.0
_LONGEST_RETRY = 60.0


class _Waiting:
    __slots__ = ("granted", "key", "low_priority", "rank")

    def __init__(self, key: str, rank: float, low_priority: bool) -> None:
        self.key = key
        self.rank = rank
        self.low_priority = low_priority
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class AdmissionQueue:
    """`slots` is how many may be at work (0: nobody waits here), `most_waiting` how many may wait, `model` the label of
    the metrics."""

    def __init__(
        self, slots: int = 0, most_waiting: int = 0, *, model: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.running = 0
        self._slots = slots
        self._most_waiting = most_waiting
        self._model = model
        self._clock = clock
        self._line: list[_Waiting] = []
        self._at_work: Counter[str] = Counter()
        self._turns = 0
        self._last_turn = Counter[str]()
        """Which turn was a key's last one."""
        self._usual = 1.0
        self.listeners: set[EngineWait] = set()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    def silence(self) -> float:
        """For how many seconds nothing has come from the engine although somebody listens; 0 when nobody does."""
        oldest = min((one.since for one in self.listeners if one.since), default=0.0)
        newest = max((one.last for one in self.listeners), default=0.0)
        return self._clock() - max(oldest, newest) if oldest else 0.0

    def engine_wait(self) -> EngineWait:
        """A request begins to listen to the engine."""
        return EngineWait(self.listeners, self._clock)

    def refuse_if_full(self, key: str) -> None:
        """Raise Overloaded when there is no more room to wait, and the key has its share of that: as much as every
        other key that waits."""
        if not self._slots or self.running < self._slots or len(self._line) < self._most_waiting:
            return
        waiting = Counter(one.key for one in self._line)
        if waiting[key] >= self._most_waiting // len({*waiting, key}):
            soonest = self._usual * (len(self._line) + 1) / self._slots
            raise Overloaded(
                "the engine is busy and its queue is full; try again later",
                retry_after=min(max(soonest, 1.0), _LONGEST_RETRY),
            )

    @asynccontextmanager
    async def slot(
        self, key: str, tokens: int, *, low_priority: bool = False, further: bool = False
    ) -> AsyncGenerator[None, None]:
        """Hold a slot for a prompt of so many tokens. Raises Overloaded at once when there is no room to wait; for a
        `further` round of a request that was taken in there always is."""
        if not further:
            self.refuse_if_full(key)
        await self._enter(key, tokens, low_priority)
        began = self._clock()
        try:
            yield
        finally:
            self._usual += 0.2 * (self._clock() - began - self._usual)
            self._leave(key)

    def reject_waiting(self, failure: Overloaded) -> None:
        """The engine has not taken anything up for as long as a request waits for it: tell all who wait, so that each
        need not find out for itself."""
        waiting, self._line = self._line, []
        for one in waiting:
            if not one.granted.done():
                one.granted.set_exception(Overloaded(failure.message, retry_after=failure.retry_after))

    async def _enter(self, key: str, tokens: int, low_priority: bool) -> None:
        if not self._slots or (self.running < self._slots and not self._line):
            self._admit(key)
            return
        mine = _Waiting(key, self._clock() + min(tokens * HANDICAP, LONGEST_HANDICAP), low_priority)
        self._line.append(mine)
        metrics.waiting(self._model, 1)
        try:
            await mine.granted
        except asyncio.CancelledError:
            if mine.granted.done() and not mine.granted.cancelled() and not mine.granted.exception():
                # The slot came in the very moment in which it was no longer wanted.
                self._leave(key)
            elif mine in self._line:
                self._line.remove(mine)
            raise
        finally:
            metrics.waiting(self._model, -1)

    def _admit(self, key: str) -> None:
        self.running += 1
        self._at_work[key] += 1
        self._turns += 1
        self._last_turn[key] = self._turns
        metrics.running(self._model, 1)

    def _leave(self, key: str) -> None:
        self.running -= 1
        self._at_work[key] -= 1
        if not self._at_work[key]:
            del self._at_work[key]
        metrics.running(self._model, -1)
        while self._line and self.running < self._slots:
            following = min(self._line, key=self._place)
            self._line.remove(following)
            if not following.granted.done():
                self._admit(following.key)
                following.granted.set_result(None)

    def _place(self, one: _Waiting) -> tuple[bool, int, int, float]:
        """What is least for the request that comes next."""
        return one.low_priority, self._at_work[one.key], self._last_turn[one.key], one.rank


class EngineWait:
    """A request that waits for its engine to say something `since` a time, or not now (0) because it is busy telling
    its client; `last` is when it heard something."""

    __slots__ = ("_all", "_clock", "last", "since")

    def __init__(self, all: set[EngineWait], clock: Callable[[], float]) -> None:
        self._all = all
        self._clock = clock
        self.last = 0.0
        self.since = clock()
        all.add(self)

    def heard(self, now: float) -> None:
        """The engine said something."""
        self.last = now
        self.since = 0.0

    def resume(self) -> None:
        """It waits again."""
        self.since = self._clock()

    def end(self) -> None:
        """It waits no more, whatever for."""
        self._all.discard(self)
