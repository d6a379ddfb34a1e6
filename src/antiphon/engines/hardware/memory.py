"""How large a window and how many requests at once fit into memory, for the embedded engine.

Every slot of the engine gets a window of its own, so that no request can starve another. (One cache shared by
all slots was tried, 2026-11: when four long prompts together overran it, llama.cpp failed all four of them; and
with enough room it gave half the tokens per second of separate ones, since attention walks over every cell.)
The price is memory: that of a window (`cache_size.py`) times slots. This file keeps it within what the machine has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from antiphon.engines.hardware.cache_size import CacheType

_SHARE_OF_FREE_MEMORY = 0.6
_WEIGHTS_SHARE = 0.7
# Below this a coding assistant cannot work: its instructions alone are some 15 to 20 thousand tokens.
_USEFUL_WINDOW = 32768
_SMALLEST_WINDOW = 2048
# With a single one, a side request of an assistant takes the place of its conversation.
_USEFUL_SLOTS = 2

# What an engine takes beyond what is known beforehand: buffers of a step, threads, the texts and grammars of requests.
_MARGIN, _MARGIN_SHARE = 1 << 30, 0.25
_LEFT_TO_OTHERS = 0.1
_SMALLEST_CEILING = 512 << 20


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The window of each slot in tokens, the number of slots, the type of the cache's values, and a sentence when less
    was given than asked."""

    window: int
    parallel: int
    cache_type: CacheType = "f16"
    note: str = ""


def together(weights: Sequence[int], free: int, most: int) -> int:
    """How many models, whose files have so many bytes, are to be loaded at once: of the largest as many as leave most
    of the `free` bytes to their windows, and at most so many (0: no bound)."""
    largest_first = sorted(weights, reverse=True)
    fitting = sum(sum(largest_first[: count + 1]) <= free * _WEIGHTS_SHARE for count in range(len(weights)))
    return max(1, min(most or len(weights), fitting))


def budgets(demands: Sequence[int], free: int, together: int = 0) -> list[int]:
    """How many of the `free` bytes each of several engines may use for its windows. None gets more than another
    that has less than it `demands` and less than an even share. Where only so many of them run `together`, each gets
    what it would get beside others like itself."""
    if 0 < together < len(demands):
        return [min(each, int(free * _SHARE_OF_FREE_MEMORY) // together) for each in demands]
    left, shares = int(free * _SHARE_OF_FREE_MEMORY), [0] * len(demands)
    smallest_first = sorted(range(len(demands)), key=lambda index: demands[index])
    for waiting, index in zip(range(len(demands), 0, -1), smallest_first, strict=True):
        shares[index] = min(demands[index], left // waiting)
        left -= shares[index]
    return shares


def ceilings(needed: Sequence[int], free: int, together: int = 0) -> list[int]:
    """How many bytes each of several engines may take at most that need so many: with a margin for what cannot be known
    beforehand, and together less than what is `free` of the machine, also when the largest of them run `together`."""
    sizes = [each + max(_MARGIN, int(each * _MARGIN_SHARE)) for each in needed]
    most = sum(sorted(sizes)[-together:])
    share = min(1.0, free * (1 - _LEFT_TO_OTHERS) / max(most, 1))
    return [max(int(each * share), _SMALLEST_CEILING) for each in sizes]


def fit(
    *,
    window: int,
    fixed: bool,
    parallel: int,
    slot_bytes: Callable[[int, CacheType], int],
    budget: int,
    cache_types: Sequence[CacheType] = ("f16",),
) -> Room:
    """The room for windows of `window` tokens, `parallel` of them, in `budget` bytes; `slot_bytes` are those of a slot
    by its window and the type of its cache. First the window shrinks to what is still useful, then the slots down to
    two, then the cache is of the next of the `cache_types`, and window and slots are tried anew. With the last type,
    there may be a single slot and at last a window that is small. A `fixed` window (asked for) never shrinks."""
    shapes = [(window, parallel)]
    while not fixed and shapes[-1][0] // 2 >= _USEFUL_WINDOW:
        shapes.append((shapes[-1][0] // 2, parallel))
    while shapes[-1][1] // 2 >= _USEFUL_SLOTS:
        shapes.append((shapes[-1][0], shapes[-1][1] // 2))
    choices = [(*shape, kind) for kind in cache_types for shape in shapes]
    if shapes[-1][1] > 1:
        choices.append((shapes[-1][0], 1, cache_types[-1]))
    while not fixed and choices[-1][0] // 2 >= _SMALLEST_WINDOW:
        choices.append((choices[-1][0] // 2, 1, cache_types[-1]))
    fitting = ((w, p, kind) for w, p, kind in choices if p * slot_bytes(w, kind) <= budget)
    got_window, got_parallel, kind = next(fitting, choices[-1])
    reasons = []
    if kind != cache_types[0]:
        reasons.append(f"the cache is of {kind} instead of {cache_types[0]} (--cache-type)")
    if got_window < window:
        reasons.append(f"the window is {got_window} tokens instead of {window} (--context-length asks for more)")
    if got_parallel < parallel:
        reasons.append(f"{got_parallel} instead of {parallel} requests are worked on at once")
    note = f"to fit into memory, {' and '.join(reasons)}" if reasons else ""
    return Room(window=got_window, parallel=got_parallel, cache_type=kind, note=note)
