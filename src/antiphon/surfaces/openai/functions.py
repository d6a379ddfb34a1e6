"""Functions, how they must be used, and the schema of an answer → the nouns."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

import msgspec

from antiphon.api.conversation import Tool, ToolChoice
from antiphon.api.errors import BadRequest
from antiphon.surfaces.content.schemas import checked_schema
from antiphon.surfaces.http.json_text import whole

_NAME = re.compile(r"^[a-zA-Z0-9_.-]{1,128}$")
_INVALID = "JSON schema is invalid. It must match JSON Schema draft 2020-12."


def raw_bytes(raw: msgspec.Raw | msgspec.UnsetType) -> bytes:
    """What the client wrote; nothing where it wrote null or left it out."""
    return b"" if isinstance(raw, msgspec.UnsetType) or bytes(raw) == b"null" else bytes(raw)


def function(name: str, description: str | None, parameters: bytes, strict: bool | None, where: str) -> Tool:
    """A function that the client describes itself. `parameters` is a JSON Schema, or empty."""
    if not _NAME.match(name):
        raise BadRequest(f"{where}.name: String should match pattern '{_NAME.pattern}'")
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    if parameters:
        told = checked_schema(parameters, f"{where}.parameters", _INVALID)
        schema = told if "type" in told else {"type": "object", **told}
    if schema["type"] != "object":
        raise BadRequest(f"{where}.parameters.type: Input should be 'object'")
    return Tool(name=name, description=description or "", schema=schema, strict=strict)


def output_schema(schema: bytes, where: str) -> dict[str, Any]:
    """The schema that the text of a reply must match: any object's, where none is told."""
    return checked_schema(schema, where, _INVALID) if schema else {"type": "object"}


def choice_by_word(word: str, tools: Container[str] | None, parallel: bool, where: str) -> ToolChoice:
    """How tools must be used, told by a word. `tools` is empty or none where there are none."""
    match word:
        case "none":
            return ToolChoice(mode="none")
        case "auto":
            return ToolChoice(mode="auto", parallel=parallel)
        case "required":
            if not tools:
                raise BadRequest(f"{where}: 'required' is only allowed when tools are given")
            return ToolChoice(mode="any", parallel=parallel)
        case _:
            raise BadRequest(f"{where}: Input should be 'none', 'auto', 'required' or name a function")


def choice_by_name(name: str, tools: Container[str], parallel: bool, where: str) -> ToolChoice:
    """That one tool must be called."""
    if name not in tools:
        raise BadRequest(f"{where}: Tool '{name}' not found in provided tools")
    return ToolChoice(mode="tool", name=name, parallel=parallel)


def arguments(raw: bytes) -> str:
    """The arguments of a call, JSON in a string or the object itself, as the text of a JSON object. What another model
    wrote may be none: then it becomes the only member of one, for a history that holds it could otherwise never go
    on."""
    text = msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()
    text = whole(text.encode()).decode()
    if not text.strip():
        return "{}"
    try:
        if isinstance(msgspec.json.decode(text), dict):
            return text
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    return msgspec.json.encode({"arguments": text}).decode()
