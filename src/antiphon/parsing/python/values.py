"""Reads Python's constants and hands on strict JSON, as it comes. JSON's own true, false and null are read too."""

from __future__ import annotations

import math
import re

from antiphon.parsing.json.lenient import MAX_DEPTH, Broken, Prefixed, code_unit, inside, quoted
from antiphon.parsing.splitter import Emit, Reading, Splitter

CONSTANTS = {"True": "true", "False": "false", "None": "null", "true": "true", "false": "false", "null": "null"}
ARGUMENT = "argument"
"""Where a value stands: as an argument of a call, or among texts that one of these characters ends."""

_WORD = re.compile(r"[\w.+\-]+")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?\Z")
_PLAIN = {quote: re.compile(rf"[^{quote}\\\x00-\x1f\ud800-\udfff]+") for quote in "\"'"}
_OCTAL = re.compile(r"[0-7]{1,3}")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "\n": ""}
_DIGITS = {"x": 2, "u": 4, "U": 8}


def in_name(character: str) -> bool:
    """Whether the character can be part of a name."""
    return character.isalnum() or character == "_"


def in_keyword(character: str) -> bool:
    """Whether the character can be part of a parameter's name, which need not be one in Python."""
    return in_name(character) or character in ("-", ".")


def value(source: Splitter, emit: Emit, place: str, depth: int = 0) -> Reading[bool]:
    """Read one constant, handing on strict JSON. Returns whether it was complete; what was emitted is legal JSON in
    either case. Raises Broken, before anything was emitted, when no constant stands here."""
    yield from source.space()
    first = yield from source.peek()
    if depth > MAX_DEPTH:
        raise Broken
    if first and first in "[(":
        source.position += 1
        emit("[")
        return (yield from _sequence(source, emit, depth, "]" if first == "[" else ")"))
    if first == "{":
        return (yield from _mapping(source, emit, depth))
    if first in ('"', "'"):
        return (yield from _strings(source, emit, "", place))
    word = yield from source.run(_WORD)
    following = yield from source.peek()
    if following in ('"', "'") and word.lower() in ("r", "u", "f", "rf", "fr"):
        return (yield from _strings(source, emit, word.lower(), place))
    cut = following == ""
    if not cut and (yield from source.past_space())[1] in ("(", ".", "["):
        raise Broken
    emit(_scalar(word, cut))
    return not cut


def _scalar(word: str, cut: bool) -> str:
    if word in CONSTANTS:
        return CONSTANTS[word]
    number = _number(word)
    word = word[:400]
    while number is None and cut and word:
        for known, json in CONSTANTS.items():
            if known.startswith(word):
                return json
        word = word[:-1]
        number = _number(word)
    if number is None:
        raise Broken
    return number


def _number(word: str) -> str | None:
    """A number of Python as JSON; one too big for a float is null."""
    text = word.lstrip("+").replace("_", "")
    try:
        if not math.isfinite(float(text)):
            return "null" if any(character.isdigit() for character in text) else None
        if _JSON_NUMBER.match(text):
            return text
        number = float(text)
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 and "." not in text else repr(number)
    except ValueError:
        pass
    try:
        return str(int(text, 0)) if len(text) < 100 else None
    except ValueError:
        return None


def _sequence(source: Splitter, emit: Emit, depth: int, end: str, before: str = "") -> Reading[bool]:
    """A list or tuple after its opening bracket, up to `end`. `before` goes before the first item."""
    while True:
        yield from source.space()
        character = yield from source.peek()
        if character == end:
            source.position += 1
            emit("]")
            return True
        if character == ",":
            source.position += 1
            continue
        try:
            done = yield from value(source, Prefixed(before, emit), "," + end, depth + 1)
        except Broken:
            done = False
        if not done:
            emit("]")
            return False
        before = ", "


def _mapping(source: Splitter, emit: Emit, depth: int) -> Reading[bool]:
    """A dictionary; or a set, which is a list in JSON."""
    source.position += 1
    before = "{"
    while True:
        yield from source.space()
        character = yield from source.peek()
        if character == "}":
            source.position += 1
            emit("{}" if before == "{" else "}")
            return True
        if character == ",":
            source.position += 1
            continue
        done = False
        try:
            key = yield from _key(source, ":,}" if before == "{" else ":")
            if before == "{" and key and (yield from source.peek()) in (",", "}"):
                emit("[" + key)
                return (yield from _sequence(source, emit, depth, "}", ", "))
            if key and (yield from source.accept(":")):
                key = key if key.startswith('"') else quoted(key)
                put = Prefixed(f"{before}{key}: ", emit)
                done = yield from value(source, put, ",}", depth + 1)
                before = ", " if put.used else before
        except Broken:
            pass
        if not done:
            emit("{}" if before == "{" else "}")
            return False


def _key(source: Splitter, place: str) -> Reading[str | None]:
    """The next key as JSON, with the space after it used up; None when there is none."""
    parts: list[str] = []
    if not (yield from value(source, parts.append, place, MAX_DEPTH)):
        return None
    yield from source.space()
    return "".join(parts)


def _strings(source: Splitter, emit: Emit, prefix: str, place: str) -> Reading[bool]:
    """A string, and those that follow it directly and so belong to it."""
    emit('"')
    while True:
        done = yield from _string(source, emit, "r" in prefix, place)
        space, following = yield from source.past_space()
        if not done or not space or following not in ('"', "'"):
            emit('"')
            return done
        yield from source.space()


def _string(source: Splitter, emit: Emit, raw: bool, place: str) -> Reading[bool]:
    """One string from its opening quote to its closing one, without the quotes of JSON."""
    quote = yield from source.next()
    triple = (yield from source.ahead(2)) == quote * 2
    if triple:
        source.position += 2
    while True:
        character = yield from source.peek()
        if character == "":
            return False
        if character == quote:
            if triple:
                if (yield from source.accept(quote * 3)):
                    return True
            elif (yield from _ends(source, place)):
                source.position += 1
                return True
            source.position += 1
            emit(inside(quote))
        elif character == "\\":
            source.position += 1
            yield from (_raw_escape(source, emit) if raw else _escape(source, emit))
        elif character < " ":
            source.position += 1
            emit(inside(character))
        elif "\ud800" <= character <= "\udfff":
            source.position += 1
            emit("�")
        else:
            yield from source.run(_PLAIN[quote], lambda text: emit(inside(text)))


def _ends(source: Splitter, place: str) -> Reading[bool]:
    """Whether the quote that stands here ends its string: whether what follows it can follow a string at this place."""
    space, following = yield from source.past_space(1)
    offset = 1 + len(space)
    if following == "" or (space and following in "\"'"):
        return True
    for barrier in source.barriers:
        if (yield from source.ahead(offset + len(barrier)))[offset:] == barrier:
            return True
    if place != ARGUMENT:
        return following in place
    return following == ")" or (following == "," and (yield from _argument_ahead(source, offset + 1)))


def _argument_ahead(source: Splitter, offset: int) -> Reading[bool]:
    """Whether a further argument, or the end, may stand `offset` characters ahead."""
    space, following = yield from source.past_space(offset)
    if not in_name(following) or following.isdigit():
        return following == "" or following in "\"')[{*-" or following.isdigit()
    word, _ = yield from source.past(in_keyword, offset + len(space))
    _, following = yield from source.past_space(offset + len(space) + len(word))
    return following in ("=", "") or (following in (",", ")") and word in CONSTANTS)


def _raw_escape(source: Splitter, emit: Emit) -> Reading[None]:
    # In a raw string a backslash stays, and so does a quote after it.
    emit("\\\\")
    if (yield from source.peek()) in ('"', "'"):
        emit(inside((yield from source.next())))


def _escape(source: Splitter, emit: Emit) -> Reading[None]:
    """An escape whose backslash is used up. Python keeps the backslash of one that it does not know."""
    kind = yield from source.peek()
    if kind in _DIGITS:
        size = _DIGITS[kind]
        digits = (yield from source.ahead(size + 1))[1:]
        if re.fullmatch(rf"[0-9a-fA-F]{{{size}}}", digits) and int(digits, 16) <= 0x10FFFF:
            source.position += size + 1
            code = int(digits, 16)
            if code > 0xFFFF:
                emit(chr(code))
            else:
                yield from code_unit(source, emit, code, f"{code:04x}")
        else:
            emit("\\\\")
    elif kind in _SIMPLE:
        source.position += 1
        emit(inside(_SIMPLE[kind]))
    elif kind in ('"', "'", "\\") and kind:
        source.position += 1
        emit(inside(kind))
    elif kind.isascii() and kind.isdigit() and kind < "8":
        octal = _OCTAL.match((yield from source.ahead(3)))
        assert octal
        source.position += octal.end()
        emit(inside(chr(int(octal[0], 8))))
    elif kind:
        emit("\\\\")
