"""Custom tools, which take free text.

A model calls every tool alike, with a JSON object: here it has the text as its one member. What clients see is the text
alone, as it comes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from antiphon.api.conversation import Tool
from antiphon.api.errors import BadRequest
from antiphon.surfaces.openai.functions import function
from antiphon.surfaces.openai.grammars import expression

MEMBER = "input"


class Format(msgspec.Struct):
    """What the text must be. The Responses API has the grammar's own fields beside `type`, chat completions have them
    in `grammar`."""

    type: str
    syntax: str | None = None
    definition: str | None = None
    grammar: Grammar | None = None


class Grammar(msgspec.Struct):
    """A grammar in a syntax of its own."""

    syntax: str | None = None
    definition: str | None = None


def custom_tool(name: str, description: str | None, format: Format | None, where: str, ignored: list[str]) -> Tool:
    """A tool that takes free text, in the form that its format demands. A format that no expression says is one of the
    `ignored`. Raises BadRequest."""
    text: dict[str, Any] = {"type": "string", "description": "The text that the tool is given, as it is."}
    pattern = _pattern(format, f"{where}.format", ignored)
    if pattern is not None:
        text["pattern"] = pattern
    schema = {"type": "object", "properties": {MEMBER: text}, "required": [MEMBER], "additionalProperties": False}
    return replace(function(name, description, b"", None, where), schema=schema)


def _pattern(format: Format | None, where: str, ignored: list[str]) -> str | None:
    if format is None or format.type == "text":
        return None
    if format.type != "grammar":
        raise BadRequest(f"{where}.type: Input should be 'text' or 'grammar'")
    grammar, place = (format, where) if format.grammar is None else (format.grammar, f"{where}.grammar")
    pattern = expression(grammar.syntax, grammar.definition, place)
    if pattern is None:
        ignored.append(where)
    return pattern


def called_with(text: str) -> str:
    """The JSON object that a model gives where a client sees this text."""
    return msgspec.json.encode({MEMBER: text}).decode()


def free_text(input: str) -> str:
    """The text in the JSON that a model gave to a custom tool; the JSON itself where there is no such text."""
    told = msgspec.json.decode(input)
    text = told.get(MEMBER) if isinstance(told, dict) else None
    return text if isinstance(text, str) and len(told) == 1 else input


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
# A whole escape, both halves of a pair among them.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^u])")
_OPENING = re.compile(rf'\s*{{\s*"{MEMBER}"\s*:\s*"')
_HALF = re.compile(r"\\u[dD][89abAB]")


class TextReader:
    """Reads the text of a custom tool out of the JSON, as it comes. What cannot be the beginning of such an object
    tells nothing before its end."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False
        self._over = False

    def feed(self, json: str) -> str:
        """The text that a further fragment tells."""
        if self._over:
            return ""
        self._held += json
        if not self._inside:
            opening = _OPENING.match(self._held)
            if opening is None:
                return ""
            self._held, self._inside = self._held[opening.end() :], True
        return "".join(self._read())

    def _read(self) -> Iterator[str]:
        text, position = self._held, 0
        while position < len(text):
            end = min(
                (place for place in (text.find('"', position), text.find("\\", position)) if place >= 0),
                default=len(text),
            )
            yield text[position:end]
            position = end
            if position == len(text):
                break
            if text[position] == '"':
                self._over = True
                break
            escape = _ESCAPE.match(text, position)
            # The second half of a pair may still come.
            if escape is None or (_HALF.match(escape[0]) and len(escape[0]) == 6 and len(text) - position < 12):
                break
            yield _unescaped(escape[0])
            position = escape.end()
        self._held = text[position:]


def _unescaped(escape: str) -> str:
    if escape[1] != "u":
        return _ESCAPES.get(escape[1], escape[1])
    units = b"".join(int(unit, 16).to_bytes(2, "big") for unit in escape.split("\\u")[1:])
    return units.decode("utf-16-be", "replace")


class TextOfCall:
    """The text of one call, as it comes."""

    def __init__(self) -> None:
        self._reader = TextReader()
        self._json: list[str] = []
        self._sent: list[str] = []

    def take(self, json: str) -> str:
        """The text that a further fragment tells."""
        self._json.append(json)
        told = self._reader.feed(json)
        self._sent.append(told)
        return told

    def rest(self) -> str:
        """What is left to be told when the JSON is whole."""
        whole, told = free_text("".join(self._json) or "{}"), "".join(self._sent)
        return whole[len(told) :] if whole.startswith(told) else ""
