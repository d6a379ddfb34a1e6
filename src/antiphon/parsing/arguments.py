"""What a tool's schema says of its parameters, and what raw texts mean as their values.

Formats that write raw text between tags come here to learn whether a parameter is a string (then its text streams
as it is) or something else (then the text is read when it is whole).
"""

from __future__ import annotations

import re
from functools import cached_property

import msgspec

from antiphon.parsing.coercion import readings
from antiphon.parsing.json import lenient
from antiphon.parsing.schemas import Schema, Shape, kind_of


class Signature:
    """What a tool's schema says of its parameters. One for each offered tool."""

    def __init__(self, schema: Schema) -> None:
        self._root = schema

    @cached_property
    def shape(self) -> Shape:
        """The whole input."""
        return Shape(self._root, [[self._root]])

    def kinds(self, parameter: str) -> frozenset[str]:
        """The JSON types that the parameter may have; empty when the schema does not say."""
        return self.shape.member(parameter).kinds

    def parameters(self) -> list[str]:
        """The declared parameters, in order."""
        return list(self.shape.names)

    def named(self, parameter: str) -> str:
        """The declared parameter that a name in the output means, though it may differ by case."""
        return self.shape.named(parameter)

    def standing(self, parameter: str) -> Schema:
        """The parameter's own schema with what its references point to, so that it can stand alone."""
        shared: Schema = {key: self._root[key] for key in ("$defs", "definitions") if key in self._root}
        return {**shared, **self.shape.schema_of(parameter)}

    def choices(self, parameter: str) -> list[str]:
        """The strings that the parameter is limited to; empty when it is not limited to strings."""
        shape = self.shape.member(parameter)
        return [str(choice) for choice in shape.choices or ()] if shape.kinds == {"string"} else []

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
        kind = kind_of(msgspec.json.decode(json))
        return json if not kinds or kind in kinds or (kind == "integer" and "number" in kinds) else None

    def coerce(self, parameter: str, raw: str, *, cut: bool = False) -> str:
        """`raw`, the text a model wrote for the parameter, as JSON text of a type the schema allows. A text that
        fits none of them stays a string. `cut` says that the output broke off in it."""
        shape = self.shape.member(parameter)
        for text in (raw, None if "string" in shape.kinds else _unquoted(raw)):
            read = next(readings(text, shape), None) if text is not None else None
            if read is not None:
                return read
        if cut and _OPENINGS.get(raw.lstrip()[:1]) in shape.kinds:
            return lenient.whole(raw)[0]
        choices = self.choices(parameter)
        if raw not in choices:
            raw = next((text for text in (raw.strip(), _unquoted(raw)) if text in choices), raw)
        return lenient.quoted(raw)


def _unquoted(raw: str) -> str | None:
    """The string that `raw` writes in JSON's quotes, or None."""
    try:
        text: str = msgspec.json.decode(raw.strip(), type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return text


_OPENINGS = {"{": "object", "[": "array"}
_JSON_STARTS = tuple('{["-0123456789tfnTFN')
# What a text of the type looks like as long as it is not over; objects and arrays are told by their first character.
_HEADS = {
    "null": re.compile(r"n(?:u(?:l(?:l\s*)?)?)?|N(?:o(?:n(?:e\s*)?)?)?"),
    "boolean": re.compile(r"t(?:r(?:u(?:e\s*)?)?)?|f(?:a(?:l(?:s(?:e\s*)?)?)?)?|[01]\s*", re.IGNORECASE),
    "integer": re.compile(r"[+-]?[0-9.]*(?:[eE][+-]?[0-9]*)?\s*"),
    "number": re.compile(r"[+-]?[0-9.]*(?:[eE][+-]?[0-9]*)?\s*"),
}
