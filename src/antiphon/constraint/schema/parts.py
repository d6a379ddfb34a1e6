"""What a lowered schema is made of, and what those who make its parts ask of each other."""

from __future__ import annotations

from typing import Protocol

import msgspec

from antiphon.constraint.schema.capabilities import Capability
from antiphon.constraint.schema.case import Node
from antiphon.constraint.schema.cases import Cases
from antiphon.constraint.schema.modern import Schema


class Dead(msgspec.Struct, frozen=True):
    """No value fits here. `place` is a JSON pointer into the client's schema, `reason` a part of a sentence."""

    place: str
    reason: str


Part = Schema | Dead
"""A schema in the few words that are left: `type` (one or several), `enum`, `anyOf` and `$ref` alone, and the keywords
of the one type. `{}` allows everything."""


class Lowering(Protocol):
    """The lowering of one schema."""

    capability: Capability
    cases: Cases
    closing: bool
    """Whether an object that lists its members has no others."""
    least: dict[int, int]
    """The least number of items or characters of a part, by its identity, where the grammar does not count so far."""

    def part(self, nodes: tuple[Node, ...], place: str) -> Part:
        """The part in which all these hold."""

    def say(self, node: Schema, keyword: str, reason: str) -> None:
        """A keyword is left out of the grammar."""

    def place(self, node: Schema) -> str:
        """Where a part stands in the client's schema."""

    def holds(self, keyword: str) -> bool:
        """Whether the dialect holds this keyword."""
