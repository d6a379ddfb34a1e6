"""JSON Schemas that clients send: read once, refused where they are none."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.validation import malformed

_DRAFTS = re.compile(r"^https?://json-schema\.org/(draft-0[467]|draft/20(19-09|20-12))/schema#?$")


def checked_schema(text: bytes, where: str, complaint: str) -> dict[str, Any]:
    """A JSON Schema as a dictionary, key order kept. Agents send the same ones with every request."""
    trouble, schema = _cached_schema(text) if len(text) < 100_000 else _schema(text)
    if schema is None:
        raise BadRequest(f"{where}: {trouble or complaint}")
    return schema


def _schema(text: bytes) -> tuple[str, dict[str, Any] | None]:
    try:
        schema = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        return malformed(trouble, text), None
    if not isinstance(schema, dict):
        return "Input should be a valid dictionary", None
    dialect = schema.get("$schema")
    # A validator would fetch the dialect it is told, from wherever that is.
    known_dialect = isinstance(dialect, str) and _DRAFTS.match(dialect)
    plain = {key: value for key, value in schema.items() if key != "$schema"}
    try:
        fine = jsonschema_rs.meta.is_valid(plain) or (known_dialect and jsonschema_rs.meta.is_valid(schema))
    except (ValueError, TypeError, OverflowError, RecursionError, jsonschema_rs.ReferencingError):
        fine = False
    return "", schema if fine else None


_cached_schema = lru_cache(maxsize=2048)(_schema)
