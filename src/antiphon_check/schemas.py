"""Whether a value matches a schema, for the few keywords that the checks use."""

from __future__ import annotations

from typing import Any

_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def mismatch(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, path: str = "it") -> str:
    """What does not match, with its place; empty where all does. Knows `type`, `enum`, `properties`, `required`,
    `additionalProperties: false`, `items`, `anyOf` and `$ref` into `$defs`."""
    root = root or schema
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        wrong = [mismatch(value, each, root, path) for each in schema["anyOf"]]
        return "" if "" in wrong else wrong[0]
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} is {value!r}, not one of {schema['enum']!r}"
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool))):
        return f"{path} is {value!r}, not of type {kind}"
    if isinstance(value, dict):
        return _object_mismatch(value, schema, root, path)
    if isinstance(value, list) and "items" in schema:
        found = (mismatch(each, schema["items"], root, f"{path}[{index}]") for index, each in enumerate(value))
        return next(filter(None, found), "")
    return ""


def _object_mismatch(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], path: str) -> str:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path} has no {name!r}"
    for name, each in value.items():
        if name in known:
            if wrong := mismatch(each, known[name], root, f"{path}.{name}"):
                return wrong
        elif schema.get("additionalProperties") is False:
            return f"{path} has {name!r}, which is not allowed"
    return ""
