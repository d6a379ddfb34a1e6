"""The line in front of an engine: bounded, fair, and nothing is lost when somebody leaves it."""

from __future__ import annotations

import asyncio
import random

import pytest

from antiphon.api.errors import Overloaded
from antiphon.serving.admission import HANDICAP, LONGEST_HANDICAP, AdmissionQueue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Visit:
    """A request that holds its slot until it is told to leave."""

    order: list[str]

    def __init__(
        self,
        line: AdmissionQueue,
        name: str,
        order: list[str],
        *,
        key: str = "",
        tokens: int = 0,
        low_priority: bool = False,
    ) -> None:
        self._release = asyncio.Event()
        self.task = asyncio.ensure_future(self._run(line, name, order, key, tokens, low_priority))

    async def _run(
        self, line: AdmissionQueue, name: str, order: list[str], key: str, tokens: int, low_priority: bool
    ) -> None:
        async with line.slot(key, tokens, low_priority=low_priority):
            order.append(name)
            await self._release.wait()

    async def leave(self) -> None:
        self._release.set()
        await self.task


async def test_without_a_known_number_of_slots_nobody_waits() -> None:
    """An engine that does not say how much it takes at once gets everything at once."""
    line, order = AdmissionQueue(0, 0), []
    visits = [Visit(line, str(n), order) for n in range(50)]
    await settled()
    assert (line.running, line.waiting) == (50, 0)
    for visit in visits:
        await visit.leave()
    assert line.running == 0


async def test_the_line_is_bounded_and_says_when_to_come_back() -> None:
    """Slots first, then the line, then Overloaded at once, with a time to wait."""
    line, order = AdmissionQueue(2, 3), []
    visits = [Visit(line, str(n), order) for n in range(5)]
    await settled()
    assert (line.running, line.waiting) == (2, 3)
    with pytest.raises(Overloaded) as caught:
        line.refuse_if_full("")
    assert caught.value.retry_after
    with pytest.raises(Overloaded):
        await Visit(line, "late", order).task
    for visit in visits:
        await visit.leave()
    assert order == ["0", "1", "2", "3", "4"]
    assert (line.running, line.waiting) == (0, 0)


async def test_keys_share_fairly() -> None:
    """A key that sends a hundred requests does not keep another waiting behind them."""
    line, order = AdmissionQueue(2, 200), []
    many = [Visit(line, f"many-{n}", order, key="many") for n in range(100)]
    await settled()
    few = [Visit(line, f"few-{n}", order, key="few") for n in range(2)]
    await settled()
    await many[0].leave()
    await settled()
    assert order[-1] == "few-0"
    await many[1].leave()
    await settled()
    assert order[-1] == "many-2", "each key has one slot now"
    for visit in (*few, *many):
        visit.task.cancel()
    await asyncio.gather(*(v.task for v in (*few, *many)), return_exceptions=True)
    assert (line.running, line.waiting) == (0, 0)


async def test_a_key_that_fills_the_line_keeps_nobody_out() -> None:
    """When the line is full of one key's requests, another may wait in it up to its share, and the two take turns in a
    single slot; the key that has more than its share is told to come back."""
    line, order = AdmissionQueue(1, 4), []
    many = [Visit(line, f"many-{n}", order, key="many") for n in range(5)]
    await settled()
    few = [Visit(line, f"few-{n}", order, key="few") for n in range(2)]
    await settled()
    assert (line.running, line.waiting) == (1, 6)
    for key in ("many", "few"):
        with pytest.raises(Overloaded):
            await Visit(line, "late", order, key=key).task
    for visit in (many[0], few[0], many[1]):
        await visit.leave()
        await settled()
    assert order == ["many-0", "few-0", "many-1", "few-1"]
    for visit in (*few, *many):
        visit.task.cancel()
    await asyncio.gather(*(v.task for v in (*few, *many)), return_exceptions=True)
    assert (line.running, line.waiting) == (0, 0)


async def test_a_further_round_is_not_refused() -> None:
    """A request that was taken in waits for its next round, however full the line is by then."""
    line, order = AdmissionQueue(1, 0), []
    first = Visit(line, "first", order)
    await settled()

    async def go_on() -> None:
        async with line.slot("", 0, further=True):
            order.append("further")

    going_on = asyncio.ensure_future(go_on())
    await settled()
    assert (line.waiting, order) == (1, ["first"])
    await first.leave()
    await going_on
    assert order == ["first", "further"]


async def test_short_prompts_overtake_long_ones_within_a_bound() -> None:
    """A short prompt passes a long one that came a little earlier; one that came much earlier is not passed."""
    clock, order = Clock(), []
    line = AdmissionQueue(1, 10, clock=clock)
    first = Visit(line, "first", order)
    await settled()
    length = int(2 * LONGEST_HANDICAP / HANDICAP)
    visits = {"long": Visit(line, "long", order, tokens=length)}
    await settled()
    for name, when in (("soon", LONGEST_HANDICAP - 1), ("late", LONGEST_HANDICAP + 1)):
        clock.now = when
        visits[name] = Visit(line, name, order, tokens=10)
        await settled()
    await first.leave()
    for name in ("soon", "long", "late"):
        await settled()
        assert order[-1] == name
        await visits[name].leave()
    assert line.running == 0


async def test_leaving_at_any_moment_loses_no_slot() -> None:
    """Requests are cancelled while they wait, in the moment they are let in, and at work; every slot comes back, and
    whoever stays is served."""
    rng = random.Random(7)
    line, order = AdmissionQueue(3, 1000), []
    visits = [Visit(line, str(n), order, key=str(n % 5), tokens=rng.randrange(2000)) for n in range(300)]
    await settled()
    stay = set(rng.sample(range(300), 40))
    for number in rng.sample(range(300), 300):
        if number in stay:
            visits[number]._release.set()
        else:
            visits[number].task.cancel()
        if rng.random() < 0.3:
            await asyncio.sleep(0)
            assert 0 <= line.running <= 3
    await asyncio.gather(*(visit.task for visit in visits), return_exceptions=True)
    assert (line.running, line.waiting) == (0, 0)
    assert stay <= {int(name) for name in order}


async def test_who_waits_for_an_engine_that_is_gone_is_told_at_once() -> None:
    """When the engine turns out to be gone, those in line need not try one after another; slots are free again."""
    line, order = AdmissionQueue(1, 10), []
    visits = [Visit(line, str(n), order) for n in range(4)]
    await settled()
    line.reject_waiting(Overloaded("gone", retry_after=5))
    for visit in visits[1:]:
        with pytest.raises(Overloaded, match="gone"):
            await visit.task
    assert (line.running, line.waiting) == (1, 0)
    await visits[0].leave()
    assert line.running == 0


async def test_silence_is_only_what_the_engine_keeps() -> None:
    """Time in which a request listens counts as silence; time in which it tells its client does not."""
    clock = Clock()
    line = AdmissionQueue(1, 1, clock=clock)
    assert line.silence() == 0
    clock.now = 5
    engine_wait = line.engine_wait()
    clock.now = 8
    assert line.silence() == 3
    engine_wait.heard(8)
    clock.now = 20
    assert line.silence() == 0
    engine_wait.resume()
    clock.now = 21
    assert line.silence() == 1
    engine_wait.end()
    engine_wait.end()
    assert line.silence() == 0


async def test_the_patient_come_after_all_others() -> None:
    """Whoever has nobody waiting for it lets everybody else go first, whatever its key, length and time in line."""
    line, order = AdmissionQueue(1, 10), []
    first = Visit(line, "first", order, key="a")
    await settled()
    waiting = [
        Visit(line, "batch", order, key="b", low_priority=True),
        Visit(line, "long", order, key="a", tokens=10_000),
        Visit(line, "short", order, key="a"),
    ]
    await settled()
    for visit in (first, waiting[2], waiting[1], waiting[0]):
        await visit.leave()
        await settled()
    assert order == ["first", "short", "long", "batch"]
