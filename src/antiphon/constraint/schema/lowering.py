"""One schema for one dialect."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.constraint import closed


class Unheld(msgspec.Struct, frozen=True):
    """A keyword that the grammar does not hold the model to, so that a value must be checked. `path` is a JSON pointer
    into the client's schema."""

    path: str
    keyword: str
    reason: str


class Lowered(msgspec.Struct, frozen=True):
    """What the grammar is made of, and what it lets pass. Where `unheld` is empty, all that the grammar allows matches
    the client's schema."""

    schema: dict[str, Any]
    unheld: tuple[Unheld, ...] = ()


def lower(schema: dict[str, Any], dialect: str, *, at: str = "", window: int | None = None) -> Lowered:
    """The schema for a dialect (by the name that engines describe themselves with). `at` is where it stands in the
    request, for errors; `window` is the room for a value in tokens, where it is known. Raises BadRequest, with the
    path, for a schema that is none, refers to another host or to nothing, or that no value can match."""
    return Lowered(closed(schema))
