"""The strings of a call object, read whole, and how long what may be none is read."""

from __future__ import annotations

from antiphon.parsing.json import lenient
from antiphon.parsing.splitter import Emit, Reading, Splitter

LONGEST = 300
"""No name, key or aside of a call is longer. A model that goes round in circles must not be read again and again."""


def nowhere(text: str) -> None:
    """Where values go that nobody asked for."""


class TooLong(Exception):
    """What seemed the beginning of a call has gone on too long without a name. The text waits for it."""


def short(limit: int = LONGEST) -> Emit:
    """The same, as long as it is short."""
    size = 0

    def add(text: str) -> None:
        nonlocal size
        size += len(text)
        if size > limit:
            raise TooLong

    return add


def gathering(parts: list[str], count: Emit) -> Emit:
    """Puts text among the parts, once it is counted."""

    def add(text: str) -> None:
        count(text)
        parts.append(text)

    return add


def plain_string(source: Splitter, quote: str, followers: str, limit: int = 1 << 30) -> Reading[str | None]:
    """The value of a string whose opening quote was used up; None when the text breaks off in it, or it is longer than
    the limit."""
    parts = ['"']
    try:
        if not (yield from lenient.string(source, gathering(parts, short(limit)), quote, followers)):
            return None
    except (lenient.Broken, TooLong):
        return None
    text: str = lenient.decoded("".join(parts))
    return text
