"""Types of tool arguments: by the tool's schema, never by the look of the text. Written once, for every format.

Formats that write raw text between tags come here to learn whether a parameter is a string (then its text streams
as it is) or something else (then the text is read when it is whole).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from antiphon.parsing.json import lenient

Schema = dict[str, Any]

_ORDER = ("null", "integer", "number", "boolean", "object", "array", "string")
_ALL = frozenset(_ORDER)
_DEEP = 8
"""Schemas nested deeper than this in references and alternatives are not followed."""
# What models and hand-written schemas call the types.
_ALIASES = {
    "str": "string", "text": "string", "varchar": "string", "char": "string", "enum": "string",
    "int": "integer", "long": "integer", "short": "integer", "float": "number", "double": "number",
    "bool": "boolean", "dict": "object", "map": "object", "arr": "array", "list": "array", "sequence": "array",
}  # fmt: skip


class Signature:
    """What a tool's schema says of its parameters. One for each offered tool."""

    def __init__(self, schema: Schema) -> None:
        self._root = schema
        self._properties = _properties(schema, schema, 0)
        self._kinds: dict[str, frozenset[str]] = {}

    def kinds(self, parameter: str) -> frozenset[str]:
        """The JSON types that the parameter may have; empty when the schema does not say."""
        if parameter not in self._kinds:
            self._kinds[parameter] = _types(self.property(parameter), self._root, ())
        return self._kinds[parameter]

    def parameters(self) -> list[str]:
        """The declared parameters, in order."""
        return list(self._properties)

    def property(self, parameter: str) -> Any:
        """The parameter's own schema."""
        if parameter in self._properties:
            return self._properties[parameter]
        return _resolved(self._root, self._root).get("additionalProperties")

    def standing(self, parameter: str) -> Schema:
        """The parameter's own schema with what its references point to, so that it can stand alone."""
        shared: Schema = {key: self._root[key] for key in ("$defs", "definitions") if key in self._root}
        return {**shared, **_resolved(self.property(parameter), self._root)}

    def choices(self, parameter: str) -> list[str]:
        """The strings that the parameter is limited to; empty when it is not limited to strings."""
        schema = _resolved(self.property(parameter), self._root)
        choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
        strings = isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)
        return choices if strings and self.kinds(parameter) == {"string"} else []

    def is_text(self, parameter: str) -> bool:
        """Whether the parameter's text is passed on as a string whatever it says, so that it can stream."""
        kinds = self.kinds(parameter)
        return not kinds or (kinds == {"string"} and not self.choices(parameter))

    def only_text(self, parameter: str, head: str) -> bool | None:
        """Of a parameter that may be a string or something else: whether a text that begins so is nothing but a
        string. None when it takes more to say."""
        if self.choices(parameter):
            return False
        head = head.lstrip()
        if not head:
            return None
        others = self.kinds(parameter) - {"string"}
        if head[0] in _OPENINGS:
            return _OPENINGS[head[0]] not in others
        return None if any(_HEADS[kind].fullmatch(head) for kind in others if kind in _HEADS) else True

    def accept(self, parameter: str, raw: str) -> str | None:
        """`raw`, which the model says is JSON, if it is JSON that the schema allows."""
        kinds = self.kinds(parameter)
        json, complete = lenient.whole(raw)
        if not complete or (raw.strip()[:1] not in _JSON_STARTS and not kinds):
            return None
        kind = _type_of(msgspec.json.decode(json))
        return json if not kinds or kind in kinds or (kind == "integer" and "number" in kinds) else None

    def coerce(self, parameter: str, raw: str, *, cut: bool = False) -> str:
        """`raw`, the text a model wrote for the parameter, as JSON text of a type the schema allows. A text that
        fits none of them stays a string. `cut` says that the output broke off in it."""
        kinds = self.kinds(parameter)
        for text in (raw, None if "string" in kinds else _unquoted(raw)):
            for kind in _ORDER:
                if kind in kinds and kind != "string" and text is not None:
                    read = _READERS[kind](text)
                    if read is not None:
                        return read
        if cut and raw.lstrip()[:1] in _OPENINGS and _OPENINGS[raw.lstrip()[:1]] in kinds:
            return lenient.whole(raw)[0]
        choices = self.choices(parameter)
        if raw not in choices:
            raw = next((text for text in (raw.strip(), _unquoted(raw)) if text in choices), raw)
        return lenient.quoted(raw)


def _properties(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    schema = _resolved(schema, root)
    found: dict[str, Any] = {}
    if depth < _DEEP:
        for member in _members(schema, "allOf", "anyOf", "oneOf"):
            found.update(_properties(member, root, depth + 1))
    own = schema.get("properties")
    if isinstance(own, dict):
        found.update(own)
    return found


def _members(schema: Schema, *parts: str) -> Iterator[Schema]:
    for part in parts:
        members = schema.get(part)
        for member in members if isinstance(members, list) else ():
            if isinstance(member, dict):
                yield member


def _resolved(schema: Any, root: Schema) -> Schema:
    for _ in range(16):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        target: Any = root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            else:
                target = target.get(step) if isinstance(target, dict) else None
        schema = target
    return schema if isinstance(schema, dict) else {}


def _types(schema: Any, root: Schema, above: tuple[int, ...]) -> frozenset[str]:
    """The types a schema allows. `above` are the schemas this one is part of: one that refers to itself adds none."""
    schema = _resolved(schema, root)
    if len(above) > _DEEP or id(schema) in above:
        return frozenset()
    above = (*above, id(schema))
    found: set[str] = set()
    declared = schema.get("type")
    for name in declared if isinstance(declared, list) else [declared]:
        if isinstance(name, str):
            found.add(_ALIASES.get(name.lower(), name.lower()))
    if not found:
        constants = [*schema["enum"]] if isinstance(schema.get("enum"), list) else []
        constants += [schema["const"]] if "const" in schema else []
        found.update(_type_of(constant) for constant in constants)
    for member in _members(schema, "anyOf", "oneOf"):
        found |= _types(member, root, above)
    for member in _members(schema, "allOf"):
        inner = _types(member, root, above)
        found = (found & inner or found) if found and inner else found | inner
    if schema.get("nullable") is True and found:
        found.add("null")
    if not found and "properties" in schema:
        found.add("object")
    if not found and "items" in schema:
        found.add("array")
    return frozenset(found & _ALL)


def _type_of(constant: Any) -> str:
    match constant:
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


def _unquoted(raw: str) -> str | None:
    """The string that `raw` writes in JSON's quotes, or None."""
    try:
        text: str = msgspec.json.decode(raw.strip(), type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return text


def _null(raw: str) -> str | None:
    return "null" if raw.strip() in ("null", "None") else None


def _integer(raw: str) -> str | None:
    text = raw.strip()
    digits = text[1:] if text[:1] in ("-", "+") else text
    if len(text) > 400:
        return None
    if digits.isascii() and digits.isdigit():
        return str(int(text))
    number = _float(text)
    return str(int(number)) if number is not None and number.is_integer() and abs(number) < 2**53 else None


def _number(raw: str) -> str | None:
    text = raw.strip()
    number = _float(text)
    if number is None:
        return None
    return text if _STRICT.fullmatch(text) else _integer(text) or repr(number)


def _float(text: str) -> float | None:
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None


def _boolean(raw: str) -> str | None:
    return {"true": "true", "false": "false", "1": "true", "0": "false"}.get(raw.strip().lower())


def _composite(raw: str, opening: str) -> str | None:
    text = raw.strip()
    if not text.startswith(opening):
        return None
    read, complete = lenient.whole(text)
    return read if complete else None


_STRICT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_OPENINGS = {"{": "object", "[": "array"}
_JSON_STARTS = tuple('{["-0123456789tfnTFN')
# What a text of the type looks like as long as it is not over; objects and arrays are told by their first character.
_HEADS = {
    "null": re.compile(r"n(?:u(?:l(?:l\s*)?)?)?|N(?:o(?:n(?:e\s*)?)?)?"),
    "boolean": re.compile(r"t(?:r(?:u(?:e\s*)?)?)?|f(?:a(?:l(?:s(?:e\s*)?)?)?)?|[01]\s*", re.IGNORECASE),
    "integer": re.compile(r"[+-]?[0-9.]*(?:[eE][+-]?[0-9]*)?\s*"),
    "number": re.compile(r"[+-]?[0-9.]*(?:[eE][+-]?[0-9]*)?\s*"),
}
_READERS: dict[str, Callable[[str], str | None]] = {
    "null": _null,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "object": lambda raw: _composite(raw, "{"),
    "array": lambda raw: _composite(raw, "["),
}
