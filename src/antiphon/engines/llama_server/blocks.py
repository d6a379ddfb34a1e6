"""Cuts long texts into blocks for a server that tokenises, so that no request makes it take memory without bound."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# llama.cpp takes up to 150 bytes for each character while it tokenises (2026-11).
MOST = 1 << 18
_SEARCHED = 4096
# Tokenizers of byte pairs cut a text here first, so the ids are those of the whole text.
_BETWEEN_WORDS = re.compile(r"(?<=\w)(?=[ \n])")


def blocks(segments: Sequence[str], *, most: int = MOST, within: bool = True) -> Iterator[list[str]]:
    """The segments in their order, so many at a time that a block has no more than `most` characters. A segment that
    has more is cut `within`, between words where there are some, or else is a block of its own. Where a segment is cut
    depends on nothing that comes after."""
    block, size = list[str](), 0
    for segment in segments:
        for part in _parts(segment, most) if within else [segment]:
            if block and size + len(part) > most:
                yield block
                block, size = [], 0
            block.append(part)
            size += len(part)
    if block:
        yield block


def _parts(segment: str, most: int) -> Iterator[str]:
    start = 0
    while len(segment) - start > most:
        end = start + most
        for found in _BETWEEN_WORDS.finditer(segment, max(end - _SEARCHED, start + 1), end):
            end = found.start()
        yield segment[start:end]
        start = end
    yield segment[start:]
