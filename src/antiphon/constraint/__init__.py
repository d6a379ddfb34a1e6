"""What a model may write, as a small grammar of nodes that belongs to no engine.

A format builds one from the tools on offer; a dialect (one file here each) lowers it to what an engine understands.

Knows: api, parsing.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Literal(msgspec.Struct, frozen=True, tag=True):
    """Exactly this text. Where it is `spaced` for the eye, a model may leave its blanks out."""

    text: str
    spaced: bool = False


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
    """Any text in which none of the markers `without` occurs. One of `then` may occur, and what belongs to it follows
    it. Control tokens are no text: those of `marks` may stand in it all the same."""

    without: tuple[str, ...] = ()
    then: tuple[tuple[str, Node], ...] = ()
    marks: tuple[str, ...] = ()


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
    inner += [each for _, each in getattr(node, "then", ())]
    return [schema for each in inner if each is not None for schema in schemas(each)]


def lead(node: Node) -> str:
    """The fixed text that whatever a node allows begins with."""
    match node:
        case Literal(text) | Marker(text):
            return text
        case Either(nodes):
            texts = [lead(each) for each in nodes]
            pairs = enumerate(zip(min(texts), max(texts), strict=False))
            return min(texts)[: next((at for at, (one, other) in pairs if one != other), len(min(texts)))]
        case Repeat(inner, least) if least:
            return lead(inner)
        case Sequence(nodes):
            fixed = ""
            for each in nodes:
                fixed += lead(each)
                if not _fixed(each):
                    break
            return fixed
        case _:
            return ""


def _fixed(node: Node) -> bool:
    return isinstance(node, Literal | Marker) or (isinstance(node, Sequence) and all(map(_fixed, node.nodes)))


def after(node: Node, text: str) -> Node | None:
    """What is left of a node when so much fixed text of it has been written; None where it does not begin so."""
    match node:
        case _ if not text:
            return node
        case Literal(fixed) | Marker(fixed):
            return msgspec.structs.replace(node, text=fixed[len(text) :]) if fixed.startswith(text) else None
        case Either(nodes):
            left = tuple(rest for each in nodes if (rest := after(each, text)) is not None)
            return (left[0] if len(left) == 1 else Either(left)) if left else None
        case Repeat(inner, least, most, separator):
            once = after(inner, text)
            again = inner if separator is None else Sequence((separator, inner))
            return once and Sequence((once, Repeat(again, max(least - 1, 0), most - 1)) if most > 1 else (once,))
        case Sequence((first, *others)) if _fixed(first) and text.startswith(fixed := lead(first)):
            return after(Sequence(tuple(others)), text[len(fixed) :])
        case Sequence((first, *others)):
            rest = after(first, text)
            return rest and Sequence((rest, *others))
        case _:
            return None


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
