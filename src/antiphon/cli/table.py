"""A table for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """The rows in columns under their heads, each as wide as it must be; those in `right` end in a line."""
    lines = [tuple(heads), *map(tuple, rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]

    def formatted(line: Sequence[str]) -> str:
        cells = zip(line, widths, range(len(line)), strict=True)
        return "  ".join(c.rjust(w) if place in right else c.ljust(w) for c, w, place in cells).rstrip() + "\n"

    return "".join(map(formatted, lines))
