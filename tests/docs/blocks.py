"""The code blocks of a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(
    r'(?:<!-- (?P<note>[^>]*) -->\n)?^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<code>.*?)^```$',
    re.M | re.S,
)


class Block(NamedTuple):
    """A block: its language, its code, its title, and the comment that stands before it."""

    language: str
    code: str
    title: str = ""
    note: str = ""


def blocks(page: str) -> list[Block]:
    """Every block of a page of docs/, in order."""
    text = (DOCS / page).read_text("utf-8")
    return [
        Block(found["language"], found["code"], found["title"] or "", found["note"] or "")
        for found in _BLOCK.finditer(text)
    ]
