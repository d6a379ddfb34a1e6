"""Cuts a stream of text at markers, however the stream was chunked.

This is the only place that holds text back. A reader is written as if the whole output were there already, as
a generator that says `yield` where it needs more; the splitter resumes it when more has come. Every decision
depends on characters alone, never on where a chunk ended, and so every way of cutting gives the same result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

Reading = Generator[None, None, T]
"""A reader that may pause for more text and in the end returns a T."""

Emit = Callable[[str], None]


class Markers:
    """A set of literal markers to look for. Where two match at one place, the longer one wins."""

    def __init__(self, markers: Iterable[str]) -> None:
        ordered = sorted(set(markers), key=len, reverse=True)
        if not all(ordered):
            raise ValueError("a marker must not be empty")
        self.longest = len(ordered[0]) if ordered else 0
        self._any = re.compile("|".join(map(re.escape, ordered))) if ordered else None
        self._prefixes = {marker[:size] for marker in ordered for size in range(1, len(marker))}
        self._first = re.compile(f"[{re.escape(''.join({marker[0] for marker in ordered}))}]") if ordered else None

    def absent(self, text: str, position: int) -> bool:
        """Whether no marker begins in `text` from `position` on, not even one that more text would make whole."""
        return self._first is None or self._first.search(text, position) is None

    def find(self, text: str, position: int) -> re.Match[str] | None:
        """The first marker in `text` from `position` on."""
        return self._any.search(text, position) if self._any else None

    def undecided(self, match: re.Match[str], position: int) -> bool:
        """Whether the text at the end, from `match` or from before it on, may be the beginning of another marker."""
        text = match.string
        return len(text) - match.start() < self.longest and len(text) - self.held(text, position) <= match.start()

    def held(self, text: str, position: int) -> int:
        """How many characters at the end of `text` may be the beginning of a marker."""
        place = max(position, len(text) - self.longest + 1)
        while self._first and (match := self._first.search(text, place)):
            if text[match.start() :] in self._prefixes:
                return len(text) - match.start()
            place = match.end()
        return 0


@lru_cache(maxsize=512)
def markers(*texts: str) -> Markers:
    """The compiled set of these markers."""
    return Markers(texts)


class Splitter:
    """The text that has come and has not been used. `ended` says that no more will come. `barriers` are texts
    that no JSON value goes beyond, such as the closing marker of a call."""

    __slots__ = ("_mark", "_tokens", "barriers", "ended", "position", "text")

    def __init__(self) -> None:
        self.text = ""
        self.position = 0
        self.ended = False
        self.barriers: tuple[str, ...] = ()
        self._mark: int | None = None
        self._tokens: list[int] = []

    def feed(self, text: str) -> None:
        """More text has come. What was used is forgotten, but for what a mark keeps."""
        if self._mark is None and self.position >= len(self.text) and not self._tokens:
            # Nearly always.
            self.text, self.position = text, 0
            return
        start = self.position if self._mark is None else self._mark
        self.text = self.text[start:] + text
        self.position -= start
        if self._mark is not None:
            self._mark = 0
        if self._tokens:
            self._tokens = [place - start for place in self._tokens if place >= start]

    def note(self, tokens: Iterable[str], size: int) -> None:
        """Of the text that came last, `size` characters, these pieces are tokens of their own, in this order."""
        place = len(self.text) - size
        for token in tokens:
            place = self.text.find(token, place)
            if place < 0:
                return
            self._tokens.append(place)
            place += len(token)

    def is_token(self, place: int) -> bool:
        """Whether what begins at this place in `text` was noted as a token of its own."""
        return place in self._tokens

    def mark(self) -> None:
        """Keep the text from here on, so that `rewind` can come back. One mark at a time."""
        self._mark = self.position

    def rewind(self) -> None:
        """Go back to the mark and drop it."""
        assert self._mark is not None
        self.position, self._mark = self._mark, None

    def release(self) -> None:
        """Drop the mark: what was read since is settled."""
        self._mark = None

    @property
    def settled(self) -> bool:
        """Whether all that has come is used up for good."""
        return self._mark is None and self.position >= len(self.text)

    @property
    def passed(self) -> int:
        """How many characters were used up since the mark."""
        assert self._mark is not None
        return self.position - self._mark

    def return_to(self, passed: int) -> None:
        """Go back to where so many characters had been used up since the mark, and keep it."""
        self.position += passed - self.passed

    def peek(self) -> Reading[str]:
        """The next character, not used up; empty at the end."""
        while self.position >= len(self.text):
            if self.ended:
                return ""
            yield
        return self.text[self.position]

    def next(self) -> Reading[str]:
        """The next character, used up; empty at the end."""
        character = yield from self.peek()
        self.position += len(character)
        return character

    def ahead(self, size: int) -> Reading[str]:
        """Up to `size` characters, not used up; fewer only at the end."""
        while len(self.text) - self.position < size and not self.ended:
            yield
        return self.text[self.position : self.position + size]

    def accept(self, *texts: str) -> Reading[str]:
        """Use up the first of these texts that stands here and return it; empty when none does. Reads only as
        far as needed to tell."""
        for text in texts:
            size = 0
            while size < len(text):
                size += 1
                got = yield from self.ahead(size)
                if got != text[:size]:
                    break
            else:
                self.position += len(text)
                return text
        return ""

    def close(self, *texts: str) -> Reading[bool]:
        """Use up one of these closing texts, or what the end of the output has left of one. Whether there was any."""
        return (yield from self.accept(*texts)) != "" or (yield from self.drop_cut(*texts))

    def drop_cut(self, *texts: str) -> Reading[bool]:
        """Use up what the end of the output has left of one of these texts. Whether there was any."""
        if (yield from self.stands(*texts)) or not self.ended:
            return False
        rest = self.text[self.position :]
        cut = rest != "" and any(text.startswith(rest) for text in texts)
        self.position += len(rest) if cut else 0
        return cut

    def stands(self, *texts: str, offset: int = 0) -> Reading[bool]:
        """Whether one of these texts stands `offset` characters ahead. Reads only as far as needed to tell."""
        for text in texts:
            for size in range(1, len(text) + 1):
                if (yield from self.ahead(offset + size))[offset:] != text[:size]:
                    break
            else:
                return True
        return False

    def run(self, pattern: re.Pattern[str], emit: Emit | None = None) -> Reading[str]:
        """Use up characters as long as `pattern` (which matches one or more of a class) goes on. Returns them,
        or, with `emit`, hands them on as they come and returns the last ones only."""
        parts: list[str] = []
        while True:
            if (yield from self.peek()) == "":
                break
            match = pattern.match(self.text, self.position)
            if not match:
                break
            self.position = match.end()
            if emit:
                emit(match[0])
            else:
                parts.append(match[0])
            if self.position < len(self.text):
                break
        return "".join(parts)

    def space(self) -> Reading[str]:
        """Use up white space and return it."""
        return (yield from self.run(SPACE))

    def past_space(self, offset: int = 0) -> Reading[tuple[str, str]]:
        """The white space that begins `offset` characters ahead and the character after it, neither used up."""
        return (yield from self.past(str.isspace, offset))

    def over(self) -> Reading[bool]:
        """Whether nothing but white space comes any more. None of it is used up."""
        return (yield from self.past_space())[1] == ""

    def past(self, belongs: Callable[[str], bool], offset: int = 0) -> Reading[tuple[str, str]]:
        """The characters that belong, from `offset` characters ahead on, and the one after them, none used up."""
        size = offset
        while True:
            if self.position + size < len(self.text):
                if not belongs(self.text[self.position + size]):
                    break
                size += 1
            elif self.ended:
                break
            else:
                yield
        end = self.position + size
        return self.text[self.position + offset : end], self.text[end : end + 1]

    def until(self, stops: Markers, emit: Emit) -> Reading[str]:
        """Hand on text up to the next of the wanted markers; use the marker up and return it. Empty at the end."""
        while True:
            held = 0
            if not stops.absent(self.text, self.position):
                match = stops.find(self.text, self.position)
                if match and not (stops.undecided(match, self.position) and not self.ended):
                    if match.start() > self.position:
                        emit(self.text[self.position : match.start()])
                    self.position = match.end()
                    return match[0]
                held = 0 if self.ended else stops.held(self.text, self.position)
                if match:
                    held = max(held, len(self.text) - match.start())
            ready = len(self.text) - held
            if ready > self.position:
                emit(self.text[self.position : ready])
                self.position = ready
            if self.ended:
                return ""
            yield

    def collect(self, stops: Markers) -> Reading[tuple[str, str]]:
        """The text up to the next wanted marker, and the marker, both used up; the marker is empty at the end."""
        parts: list[str] = []
        marker = yield from self.until(stops, parts.append)
        return "".join(parts), marker


SPACE = re.compile(r"\s+")
