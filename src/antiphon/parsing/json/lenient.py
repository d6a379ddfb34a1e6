"""Reads the JSON that models write and hands on strict JSON, as it comes.

What is strict already passes verbatim: key order, spacing, escapes. What models get wrong is mended on the
way: single quotes, Python's True/False/None, NaN, bare words and keys, raw line breaks and bad escapes in
strings, inner quotes, missing or trailing commas, comments. Where the text breaks off, everything open is closed;
a key without a value is left out, because keys are held until their value begins.
"""

from __future__ import annotations

import math
import re

import msgspec

from antiphon.parsing.json.comments import past_comments, spaced
from antiphon.parsing.splitter import Emit, Reading, Splitter

MAX_DEPTH = 180
"""Clients' parsers give up at nestings of 200. A value that goes deeper counts as cut, and the rest of it is lost."""

_WORDS = {"True": "true", "False": "false", "None": "null", "nan": "null", "NaN": "null", "undefined": "null"}
_CLOSINGS = {"{": "}", "[": "]"}
_LITERALS = ("true", "false", "null")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?\Z")
_NO_JSON_SPACE = re.compile(r"[^ \t\r\n]")
_ANYTHING = re.compile(r"(?s:.+)")
_BARE = re.compile(r"[^\s,:{}\[\]<\"']+")
_PLAIN = {quote: re.compile(rf"[^{quote}\"\\\x00-\x1f\ud800-\udfff]+") for quote in "\"'"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEX = re.compile(r"[0-9a-fA-F]{4}\Z")


class Broken(Exception):
    """The text cannot be read as JSON from here on."""


def quoted(text: str) -> str:
    """`text` as a JSON string. Half a surrogate pair, which is no character, is replaced."""
    try:
        return msgspec.json.encode(text).decode()
    except UnicodeEncodeError:
        return msgspec.json.encode(_SURROGATE.sub("�", text)).decode()


def inside(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string."""
    return quoted(text)[1:-1]


def value(source: Splitter, emit: Emit, depth: int = 0) -> Reading[bool]:
    """Read one value, handing on strict JSON. Returns whether it was complete; what was emitted is legal JSON in
    either case. Raises Broken, before anything was emitted, when no value stands here."""
    yield from source.space()
    first = yield from source.peek()
    if first == "{" or first == "[":
        if depth >= MAX_DEPTH:
            emit("null")
            yield from source.run(_ANYTHING, lambda rest: None)
            return False
        return (yield from _container(source, emit, depth))
    if first in ('"', "'"):
        source.position += 1
        emit('"')
        return (yield from string(source, emit, first, ",]}"))
    word = yield from source.run(_BARE)
    if not word:
        raise Broken
    emit(_scalar(word, cut=source.ended and source.position >= len(source.text)))
    return True


def whole(text: str, depth: int = 0) -> tuple[str, bool]:
    """The value that `text` is, as strict JSON, and whether it was complete with nothing after it. A word alone is
    complete. `depth` is how deep it is to stand."""
    if _BARE.fullmatch(text.strip()):
        return _scalar(text.strip(), cut=False), True
    source, parts = Splitter(), list[str]()
    source.feed(text)
    source.ended = True
    reading = value(source, parts.append, depth)
    try:
        while True:
            next(reading)
    except StopIteration as stop:
        return "".join(parts), stop.value and not source.text[source.position :].strip()
    except Broken:
        return "null", False


def _scalar(word: str, cut: bool) -> str:
    if word in _LITERALS:
        return word
    if _NUMBER.match(word):
        # A number that no float holds is refused by strict readers, or becomes infinite in others.
        return word if math.isfinite(float(word)) else "null"
    if word in _WORDS:
        return _WORDS[word]
    if word.lstrip("+-").lower() in ("inf", "infinity", "nan"):
        return "null"
    if cut:
        for known in (*_LITERALS, *_WORDS):
            if known.startswith(word):
                return _WORDS.get(known, known)
        word = word[:400]
        while word and not _NUMBER.match(word):
            word = word[:-1]
        return _scalar(word, cut=False) if word else "null"
    try:
        number = float(word)
    except ValueError:
        return quoted(word)
    if not math.isfinite(number):
        return "null"
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _container(source: Splitter, emit: Emit, depth: int) -> Reading[bool]:
    """An object or array. Its opening bracket is handed on with the first member, so that what is none can be told."""
    opening = yield from source.next()
    keyed, closing = opening == "{", _CLOSINGS[opening]
    head, joint = opening, ""
    before = yield from _space(source)
    while (character := (yield from source.peek())) != closing:
        if character == ",":
            source.position += 1
            before += yield from _space(source)
            continue
        key = (yield from _key(source)) if keyed else ""
        done = False
        if key is None or not character:
            if head and (yield from source.peek()) != "":
                raise Broken
        else:
            put = Prefixed(head + joint + before + key, emit)
            try:
                done = yield from value(source, put, depth + 1)
            except Broken:
                if keyed and (yield from source.peek()) in (closing, ","):
                    # A key without a value.
                    continue
            if put.used:
                head, joint = "", ","
        if not done:
            emit(head + closing)
            return False
        before = yield from _space(source)
        if (yield from source.accept(",")):
            # Space before a comma belongs before it, so that strict text stays as it was.
            emit(before)
            before = yield from _space(source)
    source.position += 1
    emit(head + before + closing)
    return True


def _space(source: Splitter) -> Reading[str]:
    """Use up white space and comments; what JSON does not count as white space becomes blanks."""
    return _NO_JSON_SPACE.sub(" ", (yield from spaced(source)))


class Prefixed:
    """An emitter that puts `prefix` before the first thing emitted, and nothing when nothing is."""

    def __init__(self, prefix: str, emit: Emit) -> None:
        self._prefix, self._emit = prefix, emit

    @property
    def used(self) -> bool:
        """Whether anything was emitted."""
        return not self._prefix

    def __call__(self, text: str) -> None:
        if self._prefix:
            text, self._prefix = self._prefix + text, ""
        self._emit(text)


def _key(source: Splitter) -> Reading[str | None]:
    """The next key with its colon and the space around it, as strict JSON; None when the text ends or breaks."""
    parts: list[str] = []
    quote = yield from source.peek()
    if quote in ('"', "'"):
        source.position += 1
        parts.append('"')
        if not (yield from string(source, parts.append, quote, ":")):
            return None
    else:
        word = yield from source.run(_BARE)
        if not word:
            return None
        parts.append(quoted(word))
    parts.append((yield from _space(source)))
    if not (yield from source.accept(":")):
        return None
    parts.append(":")
    # What begins with two slashes here may be a value that lost its quotes.
    parts.append(_NO_JSON_SPACE.sub(" ", (yield from source.space())))
    return "".join(parts)


def string(source: Splitter, emit: Emit, quote: str, followers: str) -> Reading[bool]:
    """The rest of a string after its opening quote, the closing quote included. A quote that none of `followers`
    (or the end) comes after is an inner one that the model forgot to escape."""
    plain = _PLAIN[quote]
    while True:
        character = yield from source.peek()
        if character == "":
            emit('"')
            return False
        if character == quote:
            space, following = yield from source.past_space(1)
            if following == "/":
                following = yield from past_comments(source, 1, quote)
            ends = following == "" or following in followers or (yield from _barrier(source, 1 + len(space)))
            source.position += 1
            if ends:
                emit('"')
                return True
            emit('\\"' if quote == '"' else "'")
        elif character == "\\":
            yield from _escape(source, emit)
        elif character == '"' or character < " ":
            source.position += 1
            emit(inside(character))
        elif "\ud800" <= character <= "\udfff":
            source.position += 1
            emit("�")
        else:
            yield from source.run(plain, emit)


def _barrier(source: Splitter, offset: int) -> Reading[bool]:
    """Whether one of the texts that the splitter was told no value goes beyond stands `offset` characters ahead."""
    for barrier in source.barriers:
        size = 0
        while size < len(barrier):
            size += 1
            got = (yield from source.ahead(offset + size))[offset:]
            if got != barrier[:size]:
                break
        else:
            return True
    return False


def _escape(source: Splitter, emit: Emit) -> Reading[None]:
    source.position += 1
    kind = yield from source.peek()
    if kind == "":
        return
    if kind == "u":
        digits = (yield from source.ahead(5))[1:]
        if len(digits) < 4 and source.ended:
            source.position += 1 + len(digits)
        elif _HEX.match(digits):
            source.position += 5
            yield from code_unit(source, emit, int(digits, 16), digits)
        else:
            source.position += 1
            emit("\\\\u")
    elif kind in '"\\/bfnrt':
        source.position += 1
        emit("\\" + kind)
    elif kind == "'":
        source.position += 1
        emit("'")
    elif kind == "\n":
        # A line continuation of other languages.
        source.position += 1
    else:
        emit("\\\\")


def code_unit(source: Splitter, emit: Emit, code: int, digits: str) -> Reading[None]:
    """A `\\uXXXX` whose digits are used up. Half a surrogate pair would make strict parsers refuse the whole."""
    if 0xD800 <= code <= 0xDBFF:
        low = yield from source.ahead(6)
        if low[:2] == "\\u" and _HEX.match(low[2:]) and 0xDC00 <= int(low[2:], 16) <= 0xDFFF:
            source.position += 6
            emit("\\u" + digits + low)
        else:
            emit("\\ufffd")
    elif 0xDC00 <= code <= 0xDFFF:
        emit("\\ufffd")
    else:
        emit("\\u" + digits)


def decoded(text: str) -> str:
    """The value of a strict JSON string."""
    return msgspec.json.decode(text, type=str)
