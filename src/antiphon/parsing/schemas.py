"""What a JSON Schema says of the value at one place: its types, its choices, its members and its items.

References, alternatives and combinations are followed. What a schema leaves open is open: only what it says is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from antiphon.constraint.vocabulary import at_pointer

Schema = dict[str, Any]
Alternative = tuple[Schema, ...]
"""Schemas that hold together, their own combinations already taken apart."""

_NUMBERS = frozenset(("integer", "number"))
KINDS = frozenset(("null", "integer", "number", "boolean", "object", "array", "string"))
_MOST_STEPS = 400
"""So many schemas are looked at for one place. What is beyond that says nothing."""
_MOST_ALTERNATIVES = 64
# What models and hand-written schemas call the types.
_ALIASES = {
    "str": "string", "text": "string", "varchar": "string", "char": "string", "enum": "string",
    "int": "integer", "long": "integer", "short": "integer", "float": "number", "double": "number",
    "bool": "boolean", "dict": "object", "map": "object", "arr": "array", "list": "array", "sequence": "array",
}  # fmt: skip


def kind_of(value: Any) -> str:
    """The JSON type of a decoded value; `integer` for a whole number."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return "string"


class Shape:
    """What a schema says of one value: one of the alternatives holds, and of that one, every schema."""

    def __init__(self, root: Schema, schemas: Iterable[Iterable[Any]]) -> None:
        """`schemas` are alternatives, each of schemas that hold together; `root` is what references point into."""
        self._root = root
        self._alternatives = _Expansion(root).alternatives(schemas)
        self._members: dict[str, Shape] = {}
        self._items: dict[int, Shape] = {}

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The JSON types that the value may have; empty when the schema does not say."""
        each = [_kinds(alternative) for alternative in self._alternatives]
        return frozenset().union(*each) if all(each) else frozenset()

    @cached_property
    def choices(self) -> tuple[Any, ...] | None:
        """The values that this one is limited to; None when it is not."""
        each = [_choices(alternative) for alternative in self._alternatives]
        return tuple(choice for choices in each if choices for choice in choices) if each and all(each) else None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The declared members of an object, in order."""
        found = (_part(schema, "properties") for schemas in self._alternatives for schema in schemas)
        return tuple(dict.fromkeys(name for properties in found for name in properties))

    def named(self, key: str) -> str:
        """The declared member that a key in the output means: itself, or the only one that differs by case alone."""
        if key in self.names or self._gives_meaning(key):
            return key
        fitting = [name for name in self.names if name.lower() == key.lower()]
        return fitting[0] if len(fitting) == 1 else key

    def _gives_meaning(self, key: str) -> bool:
        """Whether the schema says something of a key that it does not declare."""
        schemas = (schema for together in self._alternatives for schema in together)
        return any(_matched(schema, key) or _part(schema, "additionalProperties") for schema in schemas)

    def member(self, key: str) -> Shape:
        """The member of an object under this key. Where only some alternatives declare it, these are meant."""
        if key not in self._members:
            self._members[key] = self._inner("object", lambda schema: _member(schema, key))
        return self._members[key]

    def item(self, index: int) -> Shape:
        """The item of an array at this index."""
        if index not in self._items:
            self._items[index] = self._inner("array", lambda schema: _item(schema, index))
        return self._items[index]

    def schema_of(self, key: str) -> Schema:
        """The schema of the member under this key as it is written, a reference at its head followed."""
        found = [each for together in self._alternatives for schema in together for each in _member(schema, key)[0]]
        others = [_part(schema, "additionalProperties") for together in self._alternatives for schema in together]
        schema = (found or list(filter(None, others)) or [{}])[-1]
        for _ in range(_MOST_STEPS):
            if not isinstance(schema, dict) or not isinstance(reference := schema.get("$ref"), str):
                break
            schema = _target(self._root, reference)
        return schema if isinstance(schema, dict) else {}

    def _inner(self, kind: str, part: Callable[[Schema], tuple[list[Any], Any]]) -> Shape:
        declared, open = list[list[Any]](), list[list[Any]]()
        for schemas in self._alternatives:
            kinds = _kinds(schemas)
            if kinds and kind not in kinds:
                continue
            parts = [part(schema) for schema in schemas]
            found = [each for named, _ in parts for each in named]
            if found:
                declared.append(found)
            else:
                open.append([other for _, other in parts])
        return Shape(self._root, declared or open)


class _Expansion:
    """Takes schemas apart into alternatives without references and combinations."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = _MOST_STEPS

    def alternatives(self, schemas: Iterable[Iterable[Any]]) -> list[Alternative]:
        """All alternatives, at least one."""
        options = list[Alternative]()
        for together in schemas:
            inner: list[Alternative] = [()]
            for schema in together:
                inner = _both(inner, self._of(schema, ()))
            options += inner
        return options if 0 < len(options) <= _MOST_ALTERNATIVES else [()]

    def _of(self, schema: Any, above: tuple[int, ...]) -> list[Alternative] | None:
        """The alternatives of a schema; None of one that is only a part of itself, and so says nothing more. `above`
        are the schemas that this one is part of."""
        if not isinstance(schema, dict):
            return [()]
        if id(schema) in above or self._left <= 0:
            return None
        self._left -= 1
        above = (*above, id(schema))
        options: list[Alternative] = [()]
        if isinstance(reference := schema.get("$ref"), str):
            referred = self._of(_target(self._root, reference), above)
            if referred is None:
                return None
            options = referred
        for member in _list(schema, "allOf"):
            options = _both(options, self._of(member, above))
        for part in ("anyOf", "oneOf"):
            each = [self._of(member, above) for member in _list(schema, part)]
            options = _both(options, [option for options in each if options for option in options] or None)
        return _both(options, [(schema,)])


def _both(some: list[Alternative], others: list[Alternative] | None) -> list[Alternative]:
    """Every one of some together with every one of the others; those alone where there would be too many."""
    if not others or len(some) * len(others) > _MOST_ALTERNATIVES:
        return some
    return [(*one, *other) for one in some for other in others]


def _target(root: Schema, reference: str) -> Any:
    """What a reference within the schema points to: by a path, or by an anchor among the definitions."""
    path, _, _ = reference.partition("/")
    if path not in ("#", ""):
        definitions = (value for key in ("$defs", "definitions") for value in _part(root, key).values())
        path = unquote(path)
        names = (path, path.removeprefix("#"))
        return next((each for each in definitions if isinstance(each, dict) and _anchor(each) in names), None)
    with suppress(LookupError):
        return at_pointer(root, reference[1:]) if path == "#" else None
    return None


def _anchor(schema: Schema) -> Any:
    return schema.get("$anchor", schema.get("$id", schema.get("id")))


def _part(schema: Schema, name: str) -> Schema:
    part = schema.get(name)
    return part if isinstance(part, dict) else {}


def _list(schema: Schema, name: str) -> list[Any]:
    part = schema.get(name)
    return part if isinstance(part, list) else []


def _kinds(alternative: Alternative) -> frozenset[str]:
    kinds = frozenset[str]()
    for schema in alternative:
        own = _declared(schema)
        kinds = (_narrowed(kinds, own) or kinds) if kinds else own
    if not kinds and any(_part(schema, name) for schema in alternative for name in ("properties", "patternProperties")):
        kinds = frozenset(("object",))
    if not kinds and any("items" in schema or "prefixItems" in schema for schema in alternative):
        kinds = frozenset(("array",))
    nullable = any(schema.get("nullable") is True for schema in alternative)
    return kinds | {"null"} if kinds and nullable else kinds


def _declared(schema: Schema) -> frozenset[str]:
    declared = schema.get("type")
    names = [name.lower() for name in (declared if isinstance(declared, list) else [declared]) if isinstance(name, str)]
    found = frozenset(_ALIASES.get(name, name) for name in names) & KINDS
    return found or frozenset(map(kind_of, _limited(schema)))


def _narrowed(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """The types that are in both; an integer is a number."""
    whole = "integer" in some | others and some & _NUMBERS and others & _NUMBERS
    return (some & others) | (frozenset(("integer",)) if whole else frozenset())


def _choices(alternative: Alternative) -> list[Any]:
    return next(filter(None, map(_limited, alternative)), [])


def _limited(schema: Schema) -> list[Any]:
    return _list(schema, "enum") or ([schema["const"]] if "const" in schema else [])


def _matched(schema: Schema, key: str) -> list[Any]:
    matched = list[Any]()
    for pattern, inner in _part(schema, "patternProperties").items():
        with suppress(re.error):
            matched += [inner] if re.search(pattern, key) else []
    return matched


def _member(schema: Schema, key: str) -> tuple[list[Any], Any]:
    """What is declared for the key, and what holds for those that are not declared."""
    properties = _part(schema, "properties")
    found = ([properties[key]] if key in properties else []) + _matched(schema, key)
    return found, None if found else schema.get("additionalProperties")


def _item(schema: Schema, index: int) -> tuple[list[Any], Any]:
    """What is declared for the item at the index, and what holds for those that are not declared."""
    items = schema.get("items")
    listed = items if isinstance(items, list) else _list(schema, "prefixItems")
    if index < len(listed):
        return [listed[index]], None
    rest = schema.get("additionalItems") if isinstance(items, list) else items
    return ([rest] if isinstance(rest, dict) else []), None
