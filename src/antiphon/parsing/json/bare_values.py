"""Reads a value of `call:NAME{key:value,…}` that no marker opens: a number, a word, or text whose marker is missing.

Commas and brackets may belong to such text. They end the value only where what follows them fits."""

from __future__ import annotations

import re
from collections import Counter

from antiphon.parsing.arguments import Signature
from antiphon.parsing.splitter import Reading, Splitter, markers

_OPENINGS = {"}": "{", "]": "[", ")": "("}
_NO_KEY = frozenset(",:={}[]()<\"'")
CLOSERS = re.compile(r"[\s}\])]+")


def past_closers(source: Splitter) -> Reading[tuple[str, str]]:
    """The closing brackets and white space that come next, and the character after them, none used up."""
    return (yield from source.past(lambda character: CLOSERS.match(character) is not None))


class BareValues:
    """The markers of a family: what a string stands between, what begins a call, what ends a block."""

    def __init__(self, quote: str, opener: str, ends: tuple[str, ...]) -> None:
        self._quote, self._ends = quote, ends
        self._marks = markers(quote, *ends)
        self._stops = markers(quote, *ends, *",{[(", *_OPENINGS)
        self._calls = (opener, "call:", ",call:", ", call:")

    def read(self, source: Splitter, signature: Signature | None, within: str) -> Reading[tuple[str, str]]:
        """The value's text, and what ends it: a marker, a bracket or a comma, of which only a closing string marker is
        used up; empty at the end of the output. `signature` knows the keys of the object that the value stands in,
        `within` holds the closing brackets of all that it stands in."""
        parts: list[str] = []
        open = Counter[str]()
        while True:
            found = yield from source.until(self._stops, parts.append)
            if not found:
                text = "".join(parts)
                return text[: len(text) - self._marks.held(text, 0)], ""
            source.position -= len(found)
            source.mark()
            source.position += len(found)
            over = yield from self._ends_value(source, signature, within, found, open)
            if over and found != self._quote:
                source.rewind()
            source.release()
            if over:
                return "".join(parts), found
            if found in within + ")" and not open[_OPENINGS[found]]:
                # Where this bracket is text, so are those that stand next to it.
                found += yield from source.run(CLOSERS)
            parts.append(found)
            for each in found:
                if each in "{[(":
                    open[each] += 1
                elif open[opening := _OPENINGS.get(each, "")]:
                    open[opening] -= 1

    def _ends_value(
        self, source: Splitter, signature: Signature | None, within: str, found: str, open: Counter[str]
    ) -> Reading[bool]:
        """Whether the marker, bracket or comma, just used up, ends the value, in whose text these brackets are open."""
        if found == self._quote:
            return (yield from self._closes(source))
        if found == ",":
            inside = open.total() > 0
            listed = within.endswith("]")
            return not inside if listed else (yield from self._key_follows(source, signature, inside))
        if found in within + ")" and not open[_OPENINGS[found]]:
            return (yield from self._bounds(source, found, within))
        return found in self._ends

    def _closes(self, source: Splitter) -> Reading[bool]:
        """Whether the string marker, just used up, closes the value."""
        space, following = yield from source.past_space()
        return not following or following in ",]})" or (yield from source.stands(*self._ends, offset=len(space)))

    def _key_follows(self, source: Splitter, signature: Signature | None, inside: bool) -> Reading[bool]:
        """Whether a key stands after the comma, just used up. In a sentence, or `inside` brackets that are part of the
        text, only a declared one is a key."""
        space, following = yield from source.past_space()
        if following in ("", *_OPENINGS):
            return not inside
        offset, quote = len(space), ""
        for each in (self._quote, '"', "'"):
            if (yield from source.stands(each, offset=offset)):
                quote = each
        offset += len(quote)
        key, _ = yield from source.past(lambda character: not (character.isspace() or character in _NO_KEY), offset)
        offset += len(key)
        if not key or (quote and not (yield from source.stands(quote, offset=offset))):
            return False
        sign = (yield from source.past_space(offset + len(quote)))[1]
        if sign not in (":", "="):
            return False
        declared = signature.parameters() if signature else []
        if signature and signature.named(key) in declared:
            return True
        return not inside and (not declared or (sign == ":" and (quote != "" or not space)))

    def _bounds(self, source: Splitter, bracket: str, within: str) -> Reading[bool]:
        """Whether the bracket, just used up, closes what the value stands in."""
        run, following = yield from past_closers(source)
        if not following or (yield from source.stands(*self._ends, *self._calls, offset=len(run))):
            return True
        if bracket not in within[1:]:
            return False
        return following == "," or run.strip() != "" or (yield from source.stands(self._quote))
