"""The lenient JSON reader over any text: strict JSON passes as it is, everything else comes out legal."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antiphon.parsing.json import lenient
from antiphon.parsing.splitter import Splitter
from tests.outputs import cut

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
STYLES = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n ", " :\t")])
MARKUP = st.text(alphabet="{}[]\"'\\,:/* \n\ttruefalsnNone0123456789.eE+-uD8ü🎉\ud83d", max_size=60)


def read(pieces: list[str]) -> tuple[str, bool]:
    """What a text in these pieces is read as, and whether it was complete."""
    source, parts = Splitter(), list[str]()
    reading = lenient.value(source, parts.append)
    complete = False
    try:
        for piece in pieces:
            source.feed(piece)
            next(reading)
        source.ended = True
        while True:
            next(reading)
    except StopIteration as stop:
        complete = stop.value
    except lenient.Broken:
        assert not parts
        return "null", False
    return "".join(parts), complete


def written(value: object, style: tuple[str, str], ascii: bool) -> str:
    """The value as strict JSON."""
    return json.dumps(value, ensure_ascii=ascii, separators=style).encode("utf-8", "replace").decode()


@given(VALUES, STYLES, st.booleans())
def test_strict_json_passes_verbatim(value, style, ascii):
    """JSON that is strict already is not changed, however it is spaced."""
    text = written(value, style, ascii)
    if isinstance(value, str | int | float | list | dict) or value is None:
        assert read([text]) == (text, True)


@given(VALUES, STYLES, st.data())
def test_every_beginning_is_legal(value, style, data):
    """Wherever the output ends, what was read is JSON."""
    text = written(value, style, ascii=False)
    size = data.draw(st.integers(0, len(text)))
    json.loads(read([text[:size]])[0])


@given(st.text() | MARKUP)
@example("{'a': 'it's', b: tru")
@example('{"a": 1e999, "b": -Infinity}')
@example("[" * 200)
@example("[\x1f0")
@example('{\xa0"a"\u2003:\x1c1\x85}')
@settings(max_examples=400)
def test_any_text_gives_legal_json(text):
    """Whatever the model writes, what is read is JSON."""
    value = json.loads(read([text])[0])
    assert not isinstance(value, float) or math.isfinite(value)


@given(st.text() | MARKUP, st.lists(st.integers(0, 60), max_size=8))
@settings(max_examples=400)
def test_cutting_makes_no_difference(text, places):
    """However the text is cut into pieces, it is read as the same."""
    whole = read([text])
    assert read(list(text)) == whole
    assert read(cut(text, [place for place in places if place <= len(text)])) == whole


@given(st.text())
def test_whole_takes_any_text(text):
    """A text that is there as a whole is read as JSON, too."""
    json.loads(lenient.whole(text)[0])


@pytest.mark.parametrize("depth", [60, 89, 200, 2000])
def test_deep_nesting_stays_readable(depth: int) -> None:
    """Deep nesting is legal JSON of a depth that clients can read; what goes deeper is cut and never text."""
    raw = '{"c": [' * depth + "]}" * depth
    written, complete = lenient.whole(raw)
    assert complete == (depth < 90)
    assert json.loads(written)
    assert max(len(written) - len(written.lstrip('{"c: [')), 0) < 200 * 7
