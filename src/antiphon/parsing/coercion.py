"""Arguments of the wrong type, brought to the type that the tool's schema wants. Written once, for every format.

The rule: what the schema allows is passed on as the model wrote it. What it does not allow is changed if there is one
way to read it as something that is allowed: a string that holds the object, array, number, boolean or null wanted, a
number, boolean or object where a string is wanted, one value where a list of such is wanted. Where there is none, or
more than one, nothing is changed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import msgspec

from antiphon.parsing.json import lenient
from antiphon.parsing.schemas import Shape, kind_of
from antiphon.parsing.splitter import Reading, Splitter

_KINDS = {"{": "object", "[": "array", '"': "string", "t": "boolean", "f": "boolean", "n": "null"}
_BETWEEN = re.compile(r"[\s,]+")
_WORD = re.compile(r"[^\s,\]}]+")
_TEXT = re.compile(r'(?:[^"\\]+|\\.)+', re.DOTALL)
_TEXT_ENDS = re.compile(r'["\\]')


class Coercion:
    """The input of one call on its way to the client: strict JSON as it was written, in pieces, to strict JSON of the
    types that `shape` wants. Text streams; a value that begins as one of the wrong type is held until it is over."""

    def __init__(self, shape: Shape, depth: int = 0) -> None:
        self._source = Splitter()
        self._written: list[str] = []
        self._in_text = False
        self._depth = depth
        self._run = self._read(shape)

    def feed(self, json: str) -> str:
        """What this much more amounts to, as far as it is decided."""
        if self._in_text and not _TEXT_ENDS.search(json):
            return json
        self._source.feed(json)
        next(self._run)
        written = "".join(self._written)
        self._written.clear()
        return written

    def _read(self, root: Shape) -> Reading[None]:
        source, emit = self._source, self._written.append
        open: list[_Open] = []
        while True:
            character = yield from source.peek()
            if character in ", \n\t\r":
                yield from source.run(_BETWEEN, emit)
            elif character in "]}":
                source.position += 1
                emit(character)
                open.pop()
            elif open and open[-1].wants_key:
                yield from self._key(open[-1])
            else:
                shape = open[-1].next() if open else root
                kind = _KINDS.get(character, "number")
                if kind in ("object", "array") and (not open or takes(shape, kind)):
                    source.position += 1
                    emit(character)
                    open.append(_Open(shape, kind))
                elif takes(shape, kind):
                    yield from self._pass(kind)
                else:
                    listed = bool(open) and not open[-1].keyed
                    emit(coerced((yield from self._whole()), shape, listed=listed, depth=self._depth + len(open)))

    def _key(self, place: _Open) -> Reading[None]:
        """The key that begins here with its colon, under the name that the schema has for it."""
        source = self._source
        written = yield from self._whole()
        between = []
        while (character := (yield from source.next())) != ":":
            between.append(character)
        self._written.append(place.named(written) + "".join(between) + ":")

    def _pass(self, kind: str) -> Reading[None]:
        """A string, number or word as it is."""
        source, emit = self._source, self._written.append
        if kind != "string":
            yield from source.run(_WORD, emit)
            return
        source.position += 1
        emit('"')
        yield from self._text(self._written)

    def _text(self, parts: list[str]) -> Reading[None]:
        """The rest of a string after its opening quote, the closing one included."""
        source = self._source
        while True:
            match = _TEXT.match(source.text, source.position)
            if match:
                parts.append(match[0])
                source.position = match.end()
            if source.text.startswith('"', source.position):
                source.position += 1
                parts.append('"')
                return
            self._in_text = parts is self._written and source.position == len(source.text)
            yield
            self._in_text = False

    def _whole(self) -> Reading[str]:
        """A value that begins here, used up."""
        source, parts, depth = self._source, list[str](), 0
        while True:
            character = yield from source.peek()
            if character == '"':
                source.position += 1
                parts.append('"')
                yield from self._text(parts)
            elif character in "[]{}":
                source.position += 1
                parts.append(character)
                depth += 1 if character in "[{" else -1
            elif depth and character in ", \n\t\r:":
                source.position += 1
                parts.append(character)
            else:
                parts.append((yield from source.run(_WORD)))
            if not depth:
                return "".join(parts)


class _Open:
    """An object or array that has begun."""

    def __init__(self, shape: Shape, kind: str) -> None:
        self._shape = shape
        self.keyed = kind == "object"
        self.wants_key = self.keyed
        self._keys: set[str] = set()
        self._key = ""
        self._index = -1

    def named(self, key: str) -> str:
        """The key, as JSON, under which the value that follows is to be told."""
        written = lenient.decoded(key)
        name = self._shape.named(written)
        self._key = written if name in self._keys else name
        self._keys.add(self._key)
        self.wants_key = False
        return key if self._key == written else lenient.quoted(self._key)

    def next(self) -> Shape:
        """What is wanted of the value that begins now."""
        self.wants_key = self.keyed
        self._index += 1
        return self._shape.member(self._key) if self.keyed else self._shape.item(self._index)


def takes(shape: Shape, kind: str) -> bool:
    """Whether every value of this type is as the schema wants it, whatever it holds."""
    if shape.choices is not None and kind not in ("object", "array"):
        return kind == "string" and shape.kinds == {"string"}
    return not shape.kinds or kind in shape.kinds


def coerced(json: str, shape: Shape, *, listed: bool = False, depth: int = 0) -> str:
    """The value in the type that the schema wants, if there is one way to read it so; else as it is. `listed` says that
    it is an item of a list, `depth` how deep it stands."""
    value = msgspec.json.decode(json)
    kind = "integer" if json.lstrip("-").isdigit() else kind_of(value)
    if _allows(shape, kind) and (shape.choices is None or _chosen(json, shape)):
        return json
    readings = set(_readings(json, kind, shape, depth)) | (set() if listed else set(_alone(json, kind, shape, depth)))
    if shape.choices is not None:
        readings = {each for each in readings if _chosen(each, shape)} or (set() if _allows(shape, kind) else readings)
    return readings.pop() if len(readings) == 1 else json


def _allows(shape: Shape, kind: str) -> bool:
    return not shape.kinds or kind in shape.kinds or (kind == "integer" and "number" in shape.kinds)


def _chosen(json: str, shape: Shape) -> bool:
    value = msgspec.json.decode(json)
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in shape.choices or ())


def _readings(json: str, kind: str, shape: Shape, depth: int) -> Iterator[str]:
    """The ways to read the value as something that is allowed."""
    if kind == "string":
        yield from readings(lenient.decoded(json), shape, depth)
    elif kind in ("integer", "number"):
        yield from readings(json, shape, depth)
    if kind not in ("string", "array", "null") and "string" in shape.kinds:
        yield lenient.quoted(json)


def _alone(json: str, kind: str, shape: Shape, depth: int) -> Iterator[str]:
    """The value as the only item of the list that is wanted. What looks like a list of its own is none."""
    if "array" not in shape.kinds or kind in ("array", "null"):
        return
    if kind == "string" and lenient.decoded(json).lstrip().startswith("["):
        return
    item = shape.item(0)
    if not item.kinds:
        return
    if _allows(item, kind):
        yield f"[{inner(json, item, depth + 1)}]"
    else:
        read = coerced(json, item, listed=True, depth=depth + 1)
        if read != json:
            yield f"[{read}]"


def inner(json: str, shape: Shape, depth: int) -> str:
    """A value whose own type is right, with what is in it brought to its types."""
    return Coercion(shape, depth).feed(json) if json[0] in "{[" else json


def readings(text: str, shape: Shape, depth: int = 0) -> Iterator[str]:
    """The values of allowed types, other than strings, that a text holds, as JSON."""
    kinds = shape.kinds
    stripped = text.strip()
    if "null" in kinds and stripped in ("null", "None"):
        yield "null"
    whole = "integer" in kinds and "number" not in kinds
    number = (_integer(stripped) if whole else _number(stripped)) if kinds & {"integer", "number"} else None
    if number is not None:
        yield number
    elif "boolean" in kinds and stripped.lower() in _BOOLEANS:
        yield _BOOLEANS[stripped.lower()]
    if _KINDS.get(stripped[:1]) in kinds & {"object", "array"}:
        json, complete = lenient.whole(stripped, depth)
        if complete:
            yield inner(json, shape, depth)


def _integer(text: str) -> str | None:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if len(text) > 400:
        return None
    if digits.isascii() and digits.isdigit():
        return str(int(text))
    number = _float(text)
    return str(int(number)) if number is not None and number.is_integer() and abs(number) < 2**53 else None


def _number(text: str) -> str | None:
    number = _float(text)
    if number is None:
        return None
    return text if _STRICT.fullmatch(text) else _integer(text) or repr(number)


def _float(text: str) -> float | None:
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None


_BOOLEANS = {"true": "true", "false": "false", "1": "true", "0": "false"}
_STRICT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
