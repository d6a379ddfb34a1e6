"""What a request used, and sums of that."""

from __future__ import annotations

from collections.abc import Iterable
from operator import add
from typing import Annotated

import msgspec

Whole = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
"""A number that a line can have: so many of them can be added that no database finds the sum too large."""
HOUR = 3600
DAY = 24 * HOUR


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """What was used. `requests` came to their proper end, `broken` are those that did not. The prompt's tokens are new
    (`input`), computed and put into the cache before a client's mark (`created`), or taken from it (`cached`); of the
    `output`, `thinking` is a part. `milliseconds` are from a request's head to the end of its reply. The last three
    are calls of tools that ran here: searches, fetches, and all of them."""

    requests: Whole = 0
    broken: Whole = 0
    input: Whole = 0
    created: Whole = 0
    cached: Whole = 0
    output: Whole = 0
    thinking: Whole = 0
    milliseconds: Whole = 0
    web_searches: Whole = 0
    web_fetches: Whole = 0
    tool_calls: Whole = 0

    @property
    def spent(self) -> int:
        """What of it a budget is for: tokens that the engine computed."""
        return self.input + self.created + self.output

    def plus(self, other: Counts) -> Counts:
        """The sums."""
        return Counts(*map(add, msgspec.structs.astuple(self), msgspec.structs.astuple(other)))


NAMES = Counts.__struct_fields__


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What one request used. `time` is Unix seconds, `key` the label of its key (empty: none), `model` the served one;
    `tier` is `standard` or `batch`. Of entries with the same `id` one counts: the request was asked again."""

    time: Whole
    key: str
    model: str
    tier: str
    counts: Counts
    id: str = ""

    @property
    def whole(self) -> bool:
        """Whether the reply came to its end, so that its own figures are these."""
        return self.counts.broken == 0


class Cell(msgspec.Struct, frozen=True):
    """What is summed together: an hour (Unix seconds of its beginning), key, model and tier, whole replies apart from
    the others."""

    hour: int
    key: str
    model: str
    tier: str
    whole: bool


def summed(entries: Iterable[Entry]) -> dict[Cell, Counts]:
    """The sums of each cell."""
    totals: dict[Cell, Counts] = {}
    for entry in entries:
        cell = Cell(entry.time // HOUR * HOUR, entry.key, entry.model, entry.tier, entry.whole)
        totals[cell] = totals.get(cell, Counts()).plus(entry.counts)
    return totals
