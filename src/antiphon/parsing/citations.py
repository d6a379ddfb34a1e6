"""Citations in a reply: the grammar that a model's tags are held to, and the reader that takes them out of its text."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

from antiphon.api.citations import CLOSE, OPEN, Citation, Source
from antiphon.api.events import AnyEvent, Cited, TextDelta
from antiphon.constraint import Node, Pattern
from antiphon.parsing.stopping import Stopper

_MOST = 5
"""Places that one tag may name where a grammar holds it."""
_TAG = re.compile(r"</cite\s*>|<cite(?:[\s=:][^<>\n]{0,200})?>")
_BEGUN = re.compile(r"<(?:/?c?|/?ci|/?cit|/cite\s*|cite(?:[\s=:][^<>\n]{0,200})?)\Z")
_LABEL = re.compile(r"([a-z]{4,})[.-](\d{1,6})(?:-(\d{1,6}))?")
_BLANK_LINE = re.compile(r"\n\s*\n")


def trigger(sources: Sequence[Source]) -> tuple[tuple[str, Node], ...]:
    """What a tag begins with and what may follow it: labels of passages that there are. Nothing where there is nothing
    to cite; nobody is made to cite."""
    counts = {source.label: len(source.passages) for source in sources if source.passages}
    if not counts:
        return ()
    numbers = {count: f"({_up_to(count)})" for count in counts.values()}
    places = "|".join(rf"{label}\.{numbers[count]}(-{numbers[count]})?" for label, count in counts.items())
    return ((OPEN, Pattern(f"({places})(,({places})){{0,{_MOST - 1}}}>")),)


def _up_to(most: int) -> str:
    """The regular expression of the numbers from 1 to `most`."""
    digits = str(most)
    ways = [f"[1-9][0-9]{{0,{len(digits) - 2}}}"] if len(digits) > 1 else []
    for index, digit in enumerate(digits):
        least = 0 if index else 1
        if int(digit) > least:
            ways.append(f"{digits[:index]}[{least}-{int(digit) - 1}]" + "[0-9]" * (len(digits) - index - 1))
    return "|".join([*ways, digits])


class CitationReader:
    """Takes tags out of visible text and says, before each run of text, what is cited for it. Labels of passages that
    there are not are dropped; a tag that is never closed ends with its paragraph. Stop sequences are looked for in what
    the client sees, tags or none."""

    def __init__(self, sources: Sequence[Source], stopper: Stopper) -> None:
        self._sources = {source.label: source for source in reversed(sources)}
        self._stopper = stopper
        self._held = ""
        """The beginning of what may be a tag."""
        self._space = ""
        """White space that may belong to the run before it or to the one after it."""
        self._cited: tuple[Citation, ...] = ()
        self._next: tuple[Citation, ...] = ()
        self._spoken = False
        self._seen = self._passed = 0
        self._changes: deque[tuple[int, Cited]] = deque()

    def feed(self, text: str) -> list[AnyEvent]:
        """The events that so much more text amounts to, as far as they are certain."""
        events: list[AnyEvent] = []
        text, self._held = self._held + text, ""
        start = 0
        while (place := text.find("<", start)) >= 0:
            if tag := _TAG.match(text, place):
                self._text(text[start:place], events)
                self._turn(self._labels(tag[0]), events)
                start = tag.end()
            elif _BEGUN.match(text, place):
                self._text(text[start:place], events)
                self._held = text[place:]
                return events
            else:
                self._text(text[start : place + 1], events)
                start = place + 1
        self._text(text[start:], events)
        return events

    def flush(self) -> list[AnyEvent]:
        """The run of text is over: what was held back, without a tag that breaks off. What comes next is not cited."""
        events: list[AnyEvent] = []
        held, self._held = self._held, ""
        if not held.startswith((OPEN.rstrip(), CLOSE[:-1])):
            self._text(held, events)
        space, self._space = self._space, ""
        self._pass(space, events)
        self._release(self._stopper.flush(), events)
        self._next, self._spoken = (), False
        return events

    def _labels(self, tag: str) -> tuple[Citation, ...]:
        by_label: dict[str, Citation] = {}
        for label, first, last in _LABEL.findall(tag) if not tag.startswith("</") else ():
            source = self._sources.get(label)
            start, stop = sorted((int(first), int(last or first)))
            if source is not None and 0 < start <= stop <= len(source.passages):
                citation = source.cite(start - 1, stop)
                by_label.setdefault(citation.label, citation)
        return tuple(by_label.values())

    def _turn(self, citations: tuple[Citation, ...], events: list[AnyEvent]) -> None:
        """What follows is cited so. White space belongs to the run that it ends, if that has any text."""
        if self._spoken:
            space, self._space = self._space, ""
            self._pass(space, events)
        self._next, self._spoken = citations, False

    def _text(self, text: str, events: list[AnyEvent]) -> None:
        text = self._space + text
        if self._next:
            begun = 0 if self._spoken else len(text) - len(text.lstrip())
            if end := _BLANK_LINE.search(text.rstrip(), begun):
                # Nobody closed the tag.
                self._run(text[: end.start()], events)
                self._next, self._spoken = (), False
                text = text[end.start() :]
        body = text.rstrip()
        self._space = text[len(body) :]
        if body:
            self._run(body, events)

    def _run(self, text: str, events: list[AnyEvent]) -> None:
        """More of a run of text, from white space on or from a word."""
        if self._next != self._cited:
            self._cited = self._next
            self._changes.append((self._seen, Cited(self._cited)))
        self._spoken = True
        self._pass(text, events)

    def _pass(self, text: str, events: list[AnyEvent]) -> None:
        self._seen += len(text)
        self._release(self._stopper.feed(text), events)

    def _release(self, text: str, events: list[AnyEvent]) -> None:
        """Emit text that no stop sequence is in, each change in its place."""
        while self._changes and self._changes[0][0] <= self._passed + len(text):
            place, change = self._changes.popleft()
            head, text = text[: place - self._passed], text[place - self._passed :]
            if head:
                events.append(TextDelta(head))
            self._passed = place
            events.append(change)
        if text:
            events.append(TextDelta(text))
            self._passed += len(text)
