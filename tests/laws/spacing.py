"""JSON spaced in every way that its grammar allows."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from hypothesis import strategies as st

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"{}\[\]:,]+|[{}\[\]:,]')
_SPACES = ("", " ", "\n", "\r\n", "\t", " \n\t ", "\r")


def values() -> st.SearchStrategy[Any]:
    """Any JSON value."""
    text = st.text(st.characters(exclude_categories=["Cs"]))
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(text, inner), max_leaves=20)


def respaced(text: str, rng: random.Random) -> str:
    """The same JSON with any white space between any two of its tokens."""
    return "".join(rng.choice(_SPACES) + token for token in _TOKENS.findall(text)) + rng.choice(_SPACES)


def spellings(value: Any, seed: int = 0) -> dict[str, bytes]:
    """The JSON of a value in the ways in which programs space it."""
    compact = json.dumps(value, separators=(",", ":"))
    pretty = json.dumps(value, indent=2)
    return {
        "compact": compact.encode(),
        "spaced": json.dumps(value).encode(),
        "pretty": pretty.encode(),
        "windows": pretty.replace("\n", "\r\n").encode(),
        "tabs": json.dumps(value, indent="\t").encode(),
        "marked": b"\xef\xbb\xbf" + pretty.encode(),
        "wild": respaced(compact, random.Random(seed)).encode(),
    }
