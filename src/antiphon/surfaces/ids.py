"""The ids of what surfaces make. Each has its time in it, so that a list can be gone on with from what was deleted."""

from __future__ import annotations

import os
import time
from string import ascii_letters, digits

_LETTERS = digits + ascii_letters
_TIME, _CHANCE = 9, 15
_EARLIEST = 1_795_900_000.0
"""Unix seconds. Ids that were made before then tell no time, and what is read from them is mostly an earlier one."""


def fresh_id(prefix: str) -> str:
    """A new opaque id, `prefix` and 24 letters or digits: unique beyond any practical doubt."""
    microseconds, chance = time.time_ns() // 1000, int.from_bytes(os.urandom(12), "big")
    return prefix + _written(microseconds, _TIME) + _written(chance, _CHANCE)


def made_at(id: str) -> float | None:
    """When an id was made (Unix seconds), or None for one that is not of this kind."""
    letters = id.rpartition("_")[2]
    if len(letters) != _TIME + _CHANCE or not (letters.isascii() and letters.isalnum()):
        return None
    microseconds = 0
    for letter in letters[:_TIME]:
        microseconds = microseconds * len(_LETTERS) + _LETTERS.index(letter)
    made = microseconds / 1e6
    return made if _EARLIEST < made <= time.time() else None


def _written(number: int, count: int) -> str:
    letters = ""
    for _ in range(count):
        number, place = divmod(number, len(_LETTERS))
        letters = _LETTERS[place] + letters
    return letters
