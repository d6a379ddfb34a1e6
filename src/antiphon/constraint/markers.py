"""Markers of a format, as the vocabulary has them: text, control tokens, or both."""

from __future__ import annotations

import re
from collections.abc import Callable

TokenId = Callable[[str], int | None]
"""The id of a text that is one control token of the vocabulary, or None."""


_CONTROL = re.compile(
    r"\]<\]\w+\[>\[|<\|[^|<>]+\|>|<｜[^｜<>]+｜>|｜[^｜<>\s]+｜|</?[^<>\s｜|]+>|<[^<>\s｜|]+\|>|<\|[^<>\s｜|]+>|\[/?[A-Z_]+\]"
)
"""What control tokens look like, to find those that stand within a marker."""


def split(marker: str, token_id: TokenId) -> list[str | int]:
    """A marker as text and the ids of the control tokens in it."""
    whole = token_id(marker)
    if whole is not None:
        return [whole]
    parts: list[str | int] = []
    begin = 0
    for match in _CONTROL.finditer(marker):
        token = token_id(match[0])
        if token is not None:
            parts += [marker[begin : match.start()], token]
            begin = match.end()
    return [part for part in (*parts, marker[begin:]) if part != ""]
