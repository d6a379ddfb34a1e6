"""What the llguidance within llama.cpp, which is older than the package, does not read as it is meant."""

from __future__ import annotations

import json
import re
from typing import Any

from antiphon.constraint.vocabulary import LIST, ONE, RECORD

_CODE = r"(?:x|u00)(?:[01][0-9a-fA-F]|22|5[cC]|7[fF])"
_LONE = re.compile(
    rf"""\[(?:\\.|[^\]\\])(?:\\.|[^\]\\])+\]|\[?(\\[nrtfv"\\]|\\{_CODE}|["\n\r\t\f\v])\]?|\\.""", re.DOTALL
)
"""A character that JSON escapes, by itself; in front of it, what only looks like one."""


def escapes(value: Any) -> bool:
    """Whether there is a character in a value that JSON escapes. The llguidance within llama.cpp loses what follows one
    in the text of a value: of two sentences on two lines it asked for the first and a half (derivre 0.3.8)."""
    return "\\" in json.dumps(value, ensure_ascii=False)


def accompanied(pattern: str) -> str:
    """The expression of a JSON string, as the llguidance within llama.cpp understands it.

    Its derivre (0.3.8) loses what follows a character that JSON escapes when there is no choice at its place; so there
    is one, of a character of private use, which nobody writes."""
    return _LONE.sub(lambda found: f"[{found[1]}\ue000]" if found[1] else found[0], pattern)


def legible(part: Any) -> Any:
    """A schema, or a list of them, with expressions that the llguidance within llama.cpp reads whole."""
    if isinstance(part, list):
        return list(map(legible, part))
    return {key: _legible_value(key, value) for key, value in part.items()} if isinstance(part, dict) else part


def _legible_value(keyword: str, value: Any) -> Any:
    if keyword == "pattern":
        return accompanied(value)
    if keyword in RECORD:
        return {name: legible(each) for name, each in value.items()}
    return legible(value) if keyword in ONE or keyword in LIST else value
