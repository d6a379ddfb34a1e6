"""How large a window and how many requests at once fit into memory, for the embedded engine.

Every slot of the engine gets a window of its own, so that no request can starve another. (One cache shared by
all slots was tried, 2026-11: when four long prompts together overran it, llama.cpp failed all four of them; and
with enough room it gave half the tokens per second of separate ones, since attention walks over every cell.)
The price is memory: window times slots. This file keeps that price within what the machine has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec

from antiphon.engines.gguf import Scalar

_CACHE_VALUE_BYTES = 2
_SHARE_OF_FREE_MEMORY = 0.6
# Below this a coding assistant cannot work: its instructions alone are some 15 to 20 thousand tokens.
_USEFUL_WINDOW = 32768
_SMALLEST_WINDOW = 2048
# With a single one, a side request of an assistant takes the place of its conversation.
_USEFUL_SLOTS = 2

# What an engine takes beyond what is known beforehand: buffers of a step, threads, the texts and grammars of requests.
_MARGIN, _MARGIN_SHARE = 1 << 30, 0.25
_LEFT_TO_OTHERS = 0.1
_SMALLEST_CEILING = 512 << 20


CacheType = Literal["f16", "q8_0", "q4_0"]
CACHE_TYPES = get_args(CacheType)
# Bits for each value of the cache, the scales of its blocks of 32 included.
_BITS: dict[CacheType, float] = {"f16": 16, "q8_0": 8.5, "q4_0": 4.5}
_BLOCK = 32


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The window of each slot in tokens, the number of slots, the type of the cache's values, and a sentence when less
    was given than asked."""

    window: int
    parallel: int
    cache_type: CacheType = "f16"
    note: str = ""


def smaller(token_bytes: int, cache_type: CacheType) -> int:
    """Bytes that a token takes in a cache of this type, where it takes so many in one of f16."""
    return int(token_bytes * _BITS[cache_type] / _BITS["f16"])


def can_be_smaller(values: Mapping[str, Scalar]) -> bool:
    """Whether llama.cpp takes a cache of another type than f16 for a model with this header: its heads are of whole
    blocks, and it keeps keys and values as they are (no latent attention)."""
    architecture = values.get("general.architecture", "")
    width, heads = (values.get(f"{architecture}.{key}", 0) for key in ("embedding_length", "attention.head_count"))
    if not (isinstance(width, int) and isinstance(heads, int) and heads):
        return False
    lengths = [values.get(f"{architecture}.attention.{each}_length", width // heads) for each in ("key", "value")]
    latent = values.get(f"{architecture}.attention.kv_lora_rank", 0)
    return not latent and all(isinstance(length, int) and length % _BLOCK == 0 for length in lengths)


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


def fit(
    *,
    window: int,
    fixed: bool,
    parallel: int,
    token_bytes: int,
    budget: int,
    cache_types: Sequence[CacheType] = ("f16",),
) -> Room:
    """The room for windows of `window` tokens, `parallel` of them, in `budget` bytes; `token_bytes` are for f16. First
    the window shrinks to what is still useful, then the slots down to two, then the cache is of the next of the
    `cache_types`, and window and slots are tried anew. With the last type, there may be a single slot and at last a
    window that is small. A `fixed` window (asked for) never shrinks."""
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
    fitting = ((w, p, kind) for w, p, kind in choices if w * p * smaller(token_bytes, kind) <= budget)
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
