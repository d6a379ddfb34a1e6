"""What each dialect can hold a model to, of a schema in which references, unions and intersections are worked out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from antiphon.constraint.schema import formats
from antiphon.constraint.schema.modern import Schema


class Capability(msgspec.Struct, frozen=True, kw_only=True):
    """The keywords and formats that a dialect holds, and up to which sizes. What is larger is left out of the grammar
    and checked: a grammar's cost is then known before an engine has it."""

    keywords: frozenset[str]
    formats: Mapping[str, Schema] = {}
    length_beside_pattern: bool = True
    """Whether a string may have a length beside a pattern or a format."""
    bound: int = 10**18 - 1
    """The largest bound of a number that is exact."""
    items: int = 1000
    """Items that are counted in an array, and members in a map."""
    length: int = 1_000_000
    """Characters that are counted in a string."""
    choices: int = 5_000
    """Values of an enumeration."""
    choices_text: int = 100_000
    """Characters of all the values of an enumeration together."""
    members: int = 1_000
    """Named members of an object."""
    references: int = 100
    """References that follow one another."""
    parts: int = 10_000
    """Parts of the whole schema."""


_SHARED = frozenset(
    {"type", "enum", "anyOf", "$ref", "properties", "required", "additionalProperties", "items", "prefixItems"}
    | {"minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"minLength", "maxLength", "pattern", "format"}
)

CAPABILITIES = {
    "llguidance": Capability(
        bound=10**40,
        keywords=_SHARED | {"multipleOf", "patternProperties", "minProperties", "maxProperties"},
        formats=formats.LLGUIDANCE,
    ),
    "xgrammar": Capability(
        keywords=_SHARED,
        formats=formats.NATIVE,
        length_beside_pattern=False,
        items=256,
        length=2_000,
        choices=1_000,
        members=256,
        parts=5_000,
    ),
    "json_schema": Capability(
        keywords=_SHARED | {"multipleOf", "patternProperties", "minProperties", "maxProperties"},
        formats=formats.NATIVE,
        items=256,
        length=2_000,
        choices=1_000,
        members=256,
        parts=5_000,
    ),
}
"""By the names that engines describe themselves with."""
