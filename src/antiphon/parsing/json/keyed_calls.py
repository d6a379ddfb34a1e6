"""Reads calls written as `call:NAME{key:value,…}`.

Keys are bare, strings stand between two of the family's string markers and are not escaped, everything else is
written much as JSON. What a bare value is, the tool's schema says."""

from __future__ import annotations

import re

from antiphon.parsing.arguments import Signature
from antiphon.parsing.json import lenient
from antiphon.parsing.json.bare_values import CLOSERS, BareValues, past_closers
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Emit, Reading, Splitter, markers

_NAME = re.compile(r"[\w.:/\-]+")
_KEY = re.compile(r"[^\s,:={}\[\]()<\"']+")
HINT = "call:"
"""What a call begins with whose opening marker is missing."""


class KeyedCalls:
    """The markers of a family, and its reader."""

    def __init__(self, opens: str, close: str, quote: str, *ends: str) -> None:
        self.open, self.close, self.quote, self.ends = opens, close, quote, (close, *ends)
        self._bare = BareValues(quote, opens, self.ends)

    def read(self, reader: Reader, opener: str) -> Reading[bool]:
        """One block: a call, or (now and then) several. One that no marker opens needs its braces."""
        source = reader.source
        source.barriers = (self.quote, *self.ends)
        found = False
        while True:
            yield from source.space()
            if found:
                source.mark()
                yield from source.accept(",")
                yield from source.space()
            if not (yield from self._call(reader, first=not found, marked=found or opener == self.open)):
                break
            found = True
        if found:
            source.rewind()
            # A string marker too many, and what it was meant to end.
            while (yield from source.accept(self.quote)):
                yield from source.run(CLOSERS)
            brackets, _ = yield from past_closers(source)
            if (yield from source.stands(*self.ends, offset=len(brackets))):
                source.position += len(brackets)
            if not (yield from source.accept(*self.ends)):
                yield from self._cut(source)
        source.barriers = ()
        return found

    def _cut(self, source: Splitter) -> Reading[bool]:
        """Use up the beginning of a marker at the end of the output."""
        stops = (self.quote, self.open, *self.ends)
        size = max(map(len, stops))
        text = yield from source.ahead(size)
        if not text or len(text) == size or not any(marker.startswith(text) for marker in stops):
            return False
        source.position += len(text)
        return True

    def _call(self, reader: Reader, first: bool, marked: bool) -> Reading[bool]:
        source = reader.source
        if not (yield from source.accept("call:", ":")) and not first:
            return False
        if marked:
            yield from source.space()
        written = yield from source.run(_NAME)
        space, bracket = yield from source.past_space()
        empty = marked and (yield from source.stands(*self.ends, offset=len(space)))
        before = reader.tentative
        reader.tentative = before or not bracket
        begins = bracket == "{" or (marked and (bracket in ("(", "") or empty))
        name = reader.resolve(written) if written and begins else None
        reader.tentative = before
        if name is None:
            return False
        reader.begin(name)
        yield from source.space()
        if empty or not bracket:
            reader.argue("{}")
            reader.finish(empty)
        else:
            reader.finish((yield from self._object(source, reader.argue, reader.signature(name), "")))
        return True

    def _object(self, source: Splitter, emit: Emit, signature: Signature | None, around: str) -> Reading[bool]:
        """The object that begins here; `signature` says what its members may be, `around` holds the closing brackets of
        what it is part of. Returns whether it was complete."""
        source.position += 1
        emit("{")
        first = True
        while True:
            yield from source.space()
            following = yield from source.next()
            if following and following in "})":
                emit("}")
                return True
            if following == ",":
                continue
            source.position -= len(following)
            key = yield from self._key(source)
            yield from source.space()
            if key is None or (yield from source.peek()) == "":
                emit("}")
                if (yield from self._cut(source)):
                    return False
                # Unbalanced braces, where the block itself is over.
                return (yield from source.stands(*self.ends))
            key = signature.named(key) if signature else key
            head = ("" if first else ",") + lenient.quoted(key) + ":"
            first = False
            if not (yield from self._value(source, lenient.Prefixed(head, emit), signature, key, around + "}")):
                emit("}")
                return (yield from source.stands(*self.ends))

    def _key(self, source: Splitter) -> Reading[str | None]:
        key: list[str] = []
        if (yield from source.accept(self.quote)):
            yield from source.until(markers(self.quote), key.append)
        elif quote := (yield from source.accept('"', "'")):
            yield from source.until(markers(quote), key.append)
        else:
            key.append((yield from source.run(_KEY)))
        yield from source.space()
        colon = yield from source.accept(":", "=")
        return "".join(key) if colon and key else None

    def _value(self, source: Splitter, emit: Emit, signature: Signature | None, key: str, within: str) -> Reading[bool]:
        quote = yield from source.accept(self.quote, '"', "'")
        if quote:
            emit('"')
            done = yield from self._string(source, quote, emit)
            emit('"')
            return done
        if (yield from self._cut(source)):
            return False
        first = yield from source.peek()
        if first in ("{", "[") and len(within) <= lenient.MAX_DEPTH:
            if first == "[":
                return (yield from self._array(source, emit, within))
            inner = Signature(signature.standing(key)) if signature else None
            return (yield from self._object(source, emit, inner, within))
        return (yield from self._unmarked(source, emit, signature, key, within))

    def _unmarked(
        self, source: Splitter, emit: Emit, signature: Signature | None, key: str, within: str
    ) -> Reading[bool]:
        """A value without an opening marker. With a closing one, it is a string."""
        text, end = yield from self._bare.read(source, signature, within)
        kinds = signature.kinds(key) if signature else frozenset[str]()
        if end == self.quote and (not kinds or "string" in kinds):
            emit(lenient.quoted(text))
        elif kinds and signature is not None:
            emit(signature.coerce(key, text.strip()))
        else:
            json, whole = lenient.whole(text)
            emit(json if whole else lenient.quoted(text.strip()))
        return end != "" and end not in self.ends

    def _array(self, source: Splitter, emit: Emit, around: str) -> Reading[bool]:
        source.position += 1
        emit("[")
        first = True
        while True:
            yield from source.space()
            following = yield from source.next()
            if following == "]":
                emit("]")
                return True
            if following == ",":
                continue
            source.position -= len(following)
            if following in ("", "}", ")") or (yield from source.stands(*self.ends)):
                emit("]")
                return following in ("}", ")")
            put = emit if first else lenient.Prefixed(",", emit)
            first = False
            if not (yield from self._value(source, put, None, "", around + "]")):
                emit("]")
                return False

    def _string(self, source: Splitter, quote: str, emit: Emit) -> Reading[bool]:
        """The text up to the string's own closing marker: the first one that something fitting follows, and that is
        not in a call written out in the text. Returns false where the output is over, or the call."""
        if quote != self.quote:
            # It ends with JSON's quote, which the caller writes.
            held: list[str] = []

            def all_but_quote(text: str) -> None:
                emit("".join(held))
                held[:] = [text]

            return (yield from lenient.string(source, all_but_quote, quote, ",]})"))
        return (yield from self._own_string(source, _BracesHeld(emit)))

    def _own_string(self, source: Splitter, text: _BracesHeld) -> Reading[bool]:
        inner = 0
        stops = markers(self.quote, self.open + "call:", *self.ends)
        while True:
            marker = yield from source.until(stops, text.put)
            if marker not in self.ends or inner:
                text.release()
            if not marker:
                return False
            if marker == self.open + "call:":
                inner += 1
            elif marker == self.quote:
                space, following = yield from source.past_space()
                if following == "":
                    return True
                if not inner and (following in ",]})" or (yield from source.stands(*self.ends, offset=len(space)))):
                    return True
            else:
                source.position -= len(marker)
                source.mark()
                source.position += len(marker)
                space, following = yield from source.past_space()
                if not inner and (not following or (yield from source.stands(self.open, offset=len(space)))):
                    # Without the string's own marker, the last brace is the call's.
                    text.release(but_one=True)
                    source.rewind()
                    return False
                source.release()
                text.release()
                inner -= 1 if inner else 0
            text.emit(marker)


class _BracesHeld:
    """The inside of a string of JSON, with the braces at its end held back: they may be those of the call around it."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._held = ""

    def put(self, text: str) -> None:
        """Take text in, and emit all but its last braces."""
        text = self._held + text
        body = text.rstrip("} \n")
        self._held = text[len(body) :]
        self.emit(body)

    def release(self, *, but_one: bool = False) -> None:
        """Emit what is held; all `but_one` brace of it where that one is the call's."""
        self.emit(self._held.rstrip().removesuffix("}") if but_one else self._held)
        self._held = ""

    def emit(self, text: str) -> None:
        """Emit text as it stands in a string."""
        self._emit(lenient.inside(text))
