"""Prompts by the hashes of their pages: equal hashes are equal beginnings.

A prompt is known by a hash for each `PAGE` of its tokens, each over all tokens up to there. What is short and fast to
compare so is found again in slots (`slots.py`) and on disk (`prefix_store.py`), without the tokens being kept.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence

PAGE = 64
"""In tokens."""
HASH = 8
"""In bytes."""


class Pages:
    """The hashes of the whole pages of a sequence of `tokens` that grows. Sequences of two domains share nothing."""

    def __init__(self, domain: bytes = b"", ids: Sequence[int] = ()) -> None:
        self.tokens = 0
        self._running = hashlib.blake2b(domain, digest_size=HASH)
        self._rest = b""
        self._hashes = bytearray()
        self.extend(ids)

    def extend(self, ids: Sequence[int]) -> None:
        """The sequence goes on with these ids."""
        self.tokens += len(ids)
        data, size = self._rest + array("i", ids).tobytes(), PAGE * 4
        whole = len(data) - len(data) % size
        with memoryview(data) as view:
            for start in range(0, whole, size):
                self._running.update(view[start : start + size])
                self._hashes += self._running.copy().digest()
        self._rest = data[whole:]

    @property
    def hashes(self) -> bytes:
        """One after the other."""
        return bytes(self._hashes)


def shared(one: bytes, other: bytes) -> int:
    """How many leading bytes of hashes are equal: whole hashes."""
    most = min(len(one), len(other))
    low, high = 0, most // HASH
    while low < high:
        # Each hash is over all before it: where one is equal, all before it are.
        middle = (low + high + 1) // 2
        end = middle * HASH
        if one[end - HASH : end] == other[end - HASH : end]:
            low = middle
        else:
            high = middle - 1
    return low * HASH


def common(one: bytes, other: bytes) -> int:
    """How many leading tokens are the same, in whole pages."""
    return shared(one, other) // HASH * PAGE
