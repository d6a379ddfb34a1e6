"""What the llguidance within llama.cpp, which is older than the package, does not read as it is meant."""

from __future__ import annotations

import json
from typing import Any

from antiphon.constraint.searching import accompanied
from antiphon.constraint.vocabulary import LIST, ONE, RECORD


def escapes(value: Any) -> bool:
    """Whether there is a character in a value that JSON escapes. The llguidance within llama.cpp loses what follows one
    in the text of a value: of two sentences on two lines it asked for the first and a half (derivre 0.3.8)."""
    return "\\" in json.dumps(value, ensure_ascii=False)


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
