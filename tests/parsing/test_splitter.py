"""The splitter over any text and any markers: every cutting gives the same, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from antiphon.parsing.splitter import Reading, Splitter, markers
from tests.outputs import cut

TEXT = st.text(alphabet="ab< >|é", max_size=40)
MARKERS = st.lists(st.text(alphabet="ab<>", min_size=1, max_size=4), min_size=1, max_size=4)
PLACES = st.lists(st.integers(0, 40), max_size=6)


def run(read: Callable[[Splitter], Reading[Any]], pieces: list[str]) -> tuple[Any, str]:
    """What a reader returns for these pieces, and what it left."""
    source = Splitter()
    reading = read(source)
    try:
        for piece in pieces:
            source.feed(piece)
            next(reading)
        source.ended = True
        while True:
            next(reading)
    except StopIteration as stop:
        used = len("".join(pieces)) - len(source.text[source.position :])
        return stop.value, "".join(pieces)[:used]


def same(read: Callable[[Splitter], Reading[Any]], text: str, places: list[int]) -> Any:
    """What the reader returns, which no cutting changes. Pieces that come after the reader is done do not count."""
    result, used = run(read, [text])
    for pieces in (list(text), cut(text, [place for place in places if place <= len(text)])):
        assert run(read, pieces)[0] == result
    return result, used


@given(TEXT, MARKERS, PLACES)
def test_split_at_markers(text, wanted, places):
    """All the text between the markers, and the markers: together they are the text."""

    def read(source: Splitter) -> Reading[str]:
        parts: list[str] = []
        while True:
            found = yield from source.until(markers(*wanted), parts.append)
            if not found:
                return "".join(parts)
            assert found in wanted
            parts.append(found)

    assert same(read, text, places)[0] == text


@given(TEXT, MARKERS, PLACES)
def test_the_first_and_longest_marker_is_found(text, wanted, places):
    """The first marker is found, the longest one where several begin; the text before it has none."""

    def read(source: Splitter) -> Reading[tuple[str, str]]:
        parts: list[str] = []
        found = yield from source.until(markers(*wanted), parts.append)
        return "".join(parts), found

    before, found = same(read, text, places)[0]
    assert text.startswith(before + found)
    at = min((text.find(each) for each in wanted if each in text), default=None)
    assert len(before) == (len(text) if at is None else at)
    longest = max((each for each in wanted if text.startswith(each, len(before))), key=len, default="")
    assert found == longest


@given(TEXT, MARKERS, PLACES)
def test_the_first_that_fits_is_accepted(text, wanted, places):
    """What the text begins with is taken, the first of the alternatives that fits."""
    found, _ = same(lambda source: source.accept(*wanted), text, places)
    assert found == next((each for each in wanted if text.startswith(each)), "")


@given(TEXT, PLACES, st.integers(0, 10))
def test_looking_ahead_uses_nothing_up(text, places, size):
    """What was looked at is still there to be read."""

    def read(source: Splitter) -> Reading[tuple[str, str, str, str]]:
        seen = yield from source.ahead(size)
        space, following = yield from source.past_space()
        source.mark()
        taken = yield from source.space()
        source.rewind()
        rest: list[str] = []
        yield from source.until(markers("never"), rest.append)
        assert taken == space
        return seen, space, following, "".join(rest)

    seen, space, following, rest = same(read, text, places)[0]
    assert seen == text[:size]
    assert rest == text
    assert text.startswith(space + following)
    assert space == text[: len(text) - len(text.lstrip())]
