"""How large a window, and how many, are given to an engine: within the memory, and the most useful first."""

from __future__ import annotations

import pytest

from antiphon.engines.hardware import memory
from antiphon.engines.hardware.cache_size import CacheShape

SHAPE = CacheShape(full=65536)


@pytest.mark.parametrize("free", [1 << 40, 64 << 30, 16 << 30, 4 << 30, 1 << 30, 0])
def test_the_engine_keeps_within_memory(free: int) -> None:
    """Windows and slots shrink with the memory, stay in sensible bounds, and say so when they are less than asked."""
    (budget,) = memory.budgets([1 << 50], free)
    room = memory.fit(window=131072, fixed=False, parallel=4, slot_bytes=SHAPE.slot_bytes, budget=budget)
    assert room.parallel * SHAPE.slot_bytes(room.window, "f16") <= free or (room.window, room.parallel) == (2048, 1)
    assert bool(room.note) == ((room.window, room.parallel) != (131072, 4))
    assert room.window >= 32768 or room.parallel == 1
    asked = memory.fit(window=131072, fixed=True, parallel=4, slot_bytes=SHAPE.slot_bytes, budget=budget)
    assert asked.window == 131072


@pytest.mark.parametrize("free", [1 << 40, 48 << 30, 16 << 30, 8 << 30, 4 << 30, 1 << 30])
def test_a_smaller_cache_is_taken_before_what_hurts_more(free: int) -> None:
    """Where f16 would make the window less than useful or leave a single slot, q8_0 is taken instead, and said to be.
    It never buys less than f16 does, and keeps within the memory."""
    asked = {"window": 131072, "fixed": False, "parallel": 4, "slot_bytes": SHAPE.slot_bytes, "budget": int(free * 0.6)}
    plain, either = memory.fit(**asked), memory.fit(**asked, cache_types=("f16", "q8_0"))
    if plain.window >= 32768 and plain.parallel >= 2:
        assert either == plain
    else:
        assert either.cache_type == "q8_0"
        assert "q8_0 instead of f16" in either.note
        assert (either.window, either.parallel) >= (plain.window, plain.parallel)
    taken = either.parallel * SHAPE.slot_bytes(either.window, either.cache_type)
    assert taken <= free * 0.6 or (either.window, either.parallel) == (2048, 1)


@pytest.mark.parametrize(
    ("weights", "most", "count"), [([5, 5, 5], 0, 3), ([5, 5, 5], 2, 2), ([40, 35, 5], 0, 1), ([90], 0, 1)]
)
def test_so_many_models_are_loaded_together(weights: list[int], most: int, count: int) -> None:
    """As many of the largest as leave room for windows, no more than are allowed, and one in any case."""
    assert memory.together(weights, 100, most) == count


def test_models_that_take_turns_get_more_than_an_even_share() -> None:
    """Of three of which two are loaded at once, each gets half, or what it wants; any two are within the memory, and
    so are their ceilings."""
    shares = memory.budgets([1000, 1000, 10], 100, together=2)
    assert shares == [30, 30, 10]
    ceilings = memory.ceilings([20 << 30] * 3, 64 << 30, together=2)
    assert len(set(ceilings)) == 1
    assert ceilings[0] > memory.ceilings([20 << 30] * 3, 64 << 30)[0]
    assert 2 * ceilings[0] <= 64 << 30
