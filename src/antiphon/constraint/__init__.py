"""What must be true of the output, as a small grammar of nodes that belongs to no engine.

A format builds one from the tools on offer; a dialect (one file here each) lowers it to what an engine understands.

Knows: api, parsing.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Literal(msgspec.Struct, frozen=True, tag=True):
    """Exactly this text."""

    text: str


class Marker(msgspec.Struct, frozen=True, tag=True):
    """A marker of the format: one control token where the vocabulary has it, else its text."""

    text: str


class Json(msgspec.Struct, frozen=True, tag=True):
    """A JSON value that matches the schema, written with these separators."""

    schema: dict[str, Any]
    item_separator: str = ", "
    key_separator: str = ": "


class Pattern(msgspec.Struct, frozen=True, tag=True):
    """Text that matches the regular expression (of the common subset: no look-around, no back-references)."""

    regex: str


class Until(msgspec.Struct, frozen=True, tag=True):
    """Any text up to the marker and the marker itself."""

    marker: str


class Free(msgspec.Struct, frozen=True, tag=True):
    """Any text in which none of these markers occurs."""

    without: tuple[str, ...]


class Sequence(msgspec.Struct, frozen=True, tag=True):
    """One after the other."""

    nodes: tuple[Node, ...]


class Either(msgspec.Struct, frozen=True, tag=True):
    """Any one of these."""

    nodes: tuple[Node, ...]


class Repeat(msgspec.Struct, frozen=True, tag=True):
    """The node `least` to `most` times, `separator` between."""

    node: Node
    least: int = 1
    most: int = 8
    separator: Node | None = None


Node = Literal | Marker | Json | Pattern | Until | Free | Sequence | Either | Repeat
"""A constraint is the node that the whole output must match."""


class Inexpressible(ValueError):
    """A dialect has no words for a node. The message says which, to people."""


def schemas(node: Node) -> list[dict[str, Any]]:
    """The JSON schemas that a node holds its output to."""
    if isinstance(node, Json):
        return [node.schema]
    inner = [getattr(node, "node", None), getattr(node, "separator", None), *getattr(node, "nodes", ())]
    return [schema for each in inner if each is not None for schema in schemas(each)]


def closed(schema: Any) -> Any:
    """The schema with every object that lists its properties, and says nothing of others, closed to others. What
    matches it matches the schema too, and a weak model is not led to invent members."""
    if isinstance(schema, list):
        return [closed(member) for member in schema]
    if not isinstance(schema, dict):
        return schema
    done = {key: value if key in _VERBATIM else closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        done["properties"] = {name: closed(inner) for name, inner in schema["properties"].items()}
        if schema["properties"] and not _OPENING.intersection(schema):
            done["additionalProperties"] = False
    return done


_VERBATIM = frozenset({"enum", "const", "default", "examples", "required", "properties"})
# Beside these, members that are not listed here may be allowed or demanded elsewhere.
_OPENING = frozenset(
    {"additionalProperties", "patternProperties", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "$ref", "if"}
)
