"""Reports of usage: what was used in a period, by whatever it is to be told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import msgspec

from antiphon.accounts.usage import DAY, Cell, Counts

Dimension = Literal["day", "hour", "key", "model", "tier"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

_PLACES: dict[Dimension, Callable[[Cell], str | int]] = {
    "day": lambda cell: cell.hour // DAY * DAY,
    "hour": lambda cell: cell.hour,
    "key": lambda cell: cell.key,
    "model": lambda cell: cell.model,
    "tier": lambda cell: cell.tier,
}


class UsageRow(msgspec.Struct, frozen=True):
    """What was used by what is the same in each dimension of a report: times are Unix seconds, keys labels."""

    place: tuple[str | int, ...]
    counts: Counts


def report(cells: Mapping[Cell, Counts], by: Sequence[Dimension], *, whole: bool = False) -> list[UsageRow]:
    """The lines of a report, in the order of their places; with `whole`, of replies alone that came to their end."""
    totals: dict[tuple[str | int, ...], Counts] = {}
    for cell, counts in cells.items():
        if cell.whole or not whole:
            place = tuple(_PLACES[dimension](cell) for dimension in by)
            totals[place] = totals.get(place, Counts()).plus(counts)
    return [UsageRow(place, totals[place]) for place in sorted(totals)]
