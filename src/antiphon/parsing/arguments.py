"""Types of tool arguments: by the tool's schema, never by the look of the text. Written once, for every format.

Formats that write raw text between tags come here to learn whether a parameter is a string (then its text streams
as it is) or something else (then the text is read when it is whole).
"""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.parsing import lenient_json

Schema = dict[str, Any]

_ORDER = ("null", "integer", "number", "boolean", "object", "array", "string")
_ALL = frozenset(_ORDER)
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
        self._kinds: dict[str, frozenset[str]] = {}

    def kinds(self, parameter: str) -> frozenset[str]:
        """The JSON types that the parameter may have; empty when the schema does not say."""
        if parameter not in self._kinds:
            self._kinds[parameter] = _types(_property(self._root, parameter, self._root), self._root, 0)
        return self._kinds[parameter]

    def parameters(self) -> list[str]:
        """The declared parameters, in order."""
        return list(_properties(self._root, self._root, 0))

    def is_text(self, parameter: str) -> bool:
        """Whether the parameter's text is passed on as a string whatever it says, so that it can stream."""
        kinds = self.kinds(parameter)
        return not kinds or kinds == {"string"}

    def coerce(self, parameter: str, raw: str) -> str:
        """`raw`, the text a model wrote for the parameter, as JSON text of a type the schema allows. A text that
        fits none of them stays a string."""
        kinds = self.kinds(parameter)
        for kind in _ORDER:
            if kind in kinds:
                read = _READERS[kind](raw)
                if read is not None:
                    return read
        return lenient_json.quoted(raw)


def _properties(schema: Schema, root: Schema, depth: int) -> dict[str, Any]:
    schema = _resolved(schema, root)
    found: dict[str, Any] = {}
    for part in ("allOf", "anyOf", "oneOf"):
        for member in schema.get(part, ()) if depth < 8 else ():
            if isinstance(member, dict):
                found.update(_properties(member, root, depth + 1))
    own = schema.get("properties")
    if isinstance(own, dict):
        found.update(own)
    return found


def _property(schema: Schema, name: str, root: Schema) -> Any:
    properties = _properties(schema, root, 0)
    return properties[name] if name in properties else _resolved(schema, root).get("additionalProperties")


def _resolved(schema: Any, root: Schema) -> Schema:
    for _ in range(16):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str) or not reference.startswith("#"):
            break
        target: Any = root
        for step in reference[1:].split("/")[1:]:
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        schema = target
    return schema if isinstance(schema, dict) else {}


def _types(schema: Any, root: Schema, depth: int) -> frozenset[str]:
    schema = _resolved(schema, root)
    if depth > 8:
        return frozenset()
    found: set[str] = set()
    declared = schema.get("type")
    for name in declared if isinstance(declared, list) else [declared]:
        if isinstance(name, str):
            found.add(_ALIASES.get(name.lower(), name.lower()))
    if not found:
        constants = [*schema["enum"]] if isinstance(schema.get("enum"), list) else []
        constants += [schema["const"]] if "const" in schema else []
        found.update(_type_of(constant) for constant in constants)
    for part in ("anyOf", "oneOf"):
        for member in schema.get(part, ()):
            found |= _types(member, root, depth + 1)
    for member in schema.get("allOf", ()):
        inner = _types(member, root, depth + 1)
        found = (found & inner or found) if found and inner else found | inner
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


def _null(raw: str) -> str | None:
    return "null" if raw.strip() in ("null", "None") else None


def _integer(raw: str) -> str | None:
    text = raw.strip()
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits.isascii() and digits.isdigit():
        return text if text == str(int(text)) else str(int(text)) if len(text) < 400 else None
    head, dot, zeros = text.partition(".")
    return _integer(head) if dot and zeros and not zeros.strip("0") and head else None


def _number(raw: str) -> str | None:
    text = raw.strip()
    try:
        number = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _integer(text)
    return text if isinstance(number, int | float) and not isinstance(number, bool) else None


def _boolean(raw: str) -> str | None:
    return {"true": "true", "false": "false", "1": "true", "0": "false"}.get(raw.strip().lower())


def _composite(raw: str, opening: str) -> str | None:
    text = raw.strip()
    if not text.startswith(opening):
        return None
    read, complete = lenient_json.whole(text)
    return read if complete else None


_READERS = {
    "null": _null,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "object": lambda raw: _composite(raw, "{"),
    "array": lambda raw: _composite(raw, "["),
    "string": lenient_json.quoted,
}
