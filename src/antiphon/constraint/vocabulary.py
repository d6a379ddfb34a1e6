"""The keywords of JSON Schema, by the kind of value that they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

TYPES = ("null", "boolean", "number", "string", "array", "object")
"""The types of JSON. `integer` is a number."""

ONE = frozenset(
    {"additionalProperties", "additionalItems", "items", "not", "if", "then", "else", "contains", "propertyNames"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
"""Keywords that hold a schema."""
LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
"""Keywords that hold a list of schemas."""
RECORD = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""Keywords that hold schemas by name."""


def inner(node: Any) -> Iterator[Any]:
    """The schemas that stand directly in one, in the order in which it names them."""
    for keyword, value in node.items() if isinstance(node, dict) else ():
        if keyword in ONE:
            yield value
        elif keyword in LIST:
            yield from value
        elif keyword in RECORD:
            yield from value.values()


def definition(reference: str) -> str:
    """The name of the definition that a reference of a lowered schema points to."""
    return reference.rpartition("/")[2]


def references(*nodes: Any) -> Iterator[str]:
    """All references in schemas, also deep within them."""
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict) and "$ref" in node:
            yield node["$ref"]
        waiting += inner(node)


def at_pointer(document: Any, pointer: str) -> Any:
    """The part that a JSON pointer names, as pointers stand in a URI (RFC 6901, 6). Raises LookupError where there is
    none."""
    part = document
    for step in pointer.split("/")[1:]:
        step = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(part, dict):
            part = part[step]
        elif isinstance(part, list) and step.isdecimal():
            part = part[int(step)]
        else:
            raise LookupError(step)
    return part


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in {*TYPES, "integer"} for name in names)


PLAIN: dict[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "enum": lambda value: isinstance(value, list),
    "const": lambda value: True,
    "required": _is_names,
    "dependentRequired": lambda value: isinstance(value, dict) and all(map(_is_names, value.values())),
    "uniqueItems": lambda value: isinstance(value, bool),
    "pattern": lambda value: isinstance(value, str),
    "format": lambda value: isinstance(value, str),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _is_size),
    **dict.fromkeys(("minContains", "maxContains"), _is_size),
}
"""Keywords that hold no schema, and what their value has to be."""

TYPED = {
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"}),
    "object": frozenset(
        {"properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties"}
        | {"propertyNames", "unevaluatedProperties"}
    ),
}
"""Which keywords say something of which type; all others speak of every value."""
