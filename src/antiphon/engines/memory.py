"""How large a window and how many requests at once fit into memory, for the embedded engine.

Every slot of the engine gets a window of its own, so that no request can starve another. (One cache shared by
all slots was tried, 2026-11: when four long prompts together overran it, llama.cpp failed all four of them; and
with enough room it gave half the tokens per second of separate ones, since attention walks over every cell.)
The price is memory: window times slots. This file keeps that price within what the machine has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from antiphon.engines.gguf import Scalar

_CACHE_VALUE_BYTES = 2
_SHARE_OF_FREE_MEMORY = 0.6
# Below this a coding assistant cannot work: its instructions alone are some 15 to 20 thousand tokens.
_USEFUL_WINDOW = 32768
_SMALLEST_WINDOW = 2048


# What an engine takes beyond what is known beforehand: buffers of a step, threads, the texts and grammars of requests.
_MARGIN, _MARGIN_SHARE = 1 << 30, 0.25
_LEFT_TO_OTHERS = 0.1
_SMALLEST_CEILING = 512 << 20


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The window of each slot in tokens, the number of slots, and a sentence when less was given than asked."""

    window: int
    parallel: int
    note: str = ""


def cache_bytes_per_token(values: Mapping[str, Scalar]) -> int:
    """Bytes of key-value cache that a token takes, by the header of a GGUF file. Where the header says it per
    layer, or a layer keeps less than all tokens, this is too high rather than too low."""
    architecture = values.get("general.architecture", "")

    def number(key: str, otherwise: int) -> int:
        value = values.get(f"{architecture}.{key}", otherwise)
        return value if isinstance(value, int) and value > 0 else otherwise

    layers, width = number("block_count", 32), number("embedding_length", 4096)
    latent = number("attention.kv_lora_rank", 0)
    if latent:
        return layers * (latent + number("rope.dimension_count", 64)) * _CACHE_VALUE_BYTES
    heads = number("attention.head_count", 32)
    groups = number("attention.head_count_kv", heads)
    key = number("attention.key_length", width // heads)
    value = number("attention.value_length", width // heads)
    return layers * groups * (key + value) * _CACHE_VALUE_BYTES


def budgets(wanted: Sequence[int], free: int) -> list[int]:
    """How many of the `free` bytes each of several engines may use for its windows. None gets more than it `wanted`
    while another has less than that and less than an even share."""
    left, given = int(free * _SHARE_OF_FREE_MEMORY), [0] * len(wanted)
    smallest_first = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for waiting, index in zip(range(len(wanted), 0, -1), smallest_first, strict=True):
        given[index] = min(wanted[index], left // waiting)
        left -= given[index]
    return given


def ceilings(needed: Sequence[int], free: int) -> list[int]:
    """How many bytes each of several engines may take at most that need so many: with a margin for what cannot be known
    beforehand, and together less than what is `free` of the machine."""
    wanted = [each + max(_MARGIN, int(each * _MARGIN_SHARE)) for each in needed]
    share = min(1.0, free * (1 - _LEFT_TO_OTHERS) / max(sum(wanted), 1))
    return [max(int(each * share), _SMALLEST_CEILING) for each in wanted]


def fit(*, window: int, fixed: bool, parallel: int, token_bytes: int, budget: int) -> Room:
    """The room for windows of `window` tokens, `parallel` of them, in `budget` bytes. First the window shrinks
    to what is still useful, then the slots, then the window again; a `fixed` window (asked for) never shrinks."""
    wanted_window, wanted_parallel = window, parallel

    def fits() -> bool:
        return window * parallel * token_bytes <= budget

    while not fits() and not fixed and window // 2 >= _USEFUL_WINDOW:
        window //= 2
    while not fits() and parallel > 1:
        parallel //= 2
    while not fits() and not fixed and window // 2 >= _SMALLEST_WINDOW:
        window //= 2
    reasons = []
    if window < wanted_window:
        reasons.append(f"the window is {window} tokens instead of {wanted_window} (--context-length asks for more)")
    if parallel < wanted_parallel:
        reasons.append(f"{parallel} instead of {wanted_parallel} requests are worked on at once")
    note = f"to fit into memory, {' and '.join(reasons)}" if reasons else ""
    return Room(window=window, parallel=parallel, note=note)
