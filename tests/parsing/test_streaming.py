"""How arguments stream: strings as they come, everything else whole."""

from __future__ import annotations

import json
from itertools import count

import pytest

from antiphon.api.events import AnyEvent, ToolDelta
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Format, reasoning_named, registry
from antiphon.parsing.parser import Parser

LINE = 'The "quick" brown fox, 1 < 2 & 3 > 2; ü 🎉 \\ end.\n'
CASES = [name for name, format in registry().items() if format.example and "a b" in format.example.raw]


def _parser(format: Format, schema: dict[str, object]) -> Parser:
    numbers = count()
    signature = Signature({"type": "object", "properties": {"x": schema}})
    reasoning = reasoning_named(format.reasoning)
    return Parser(format, reasoning, {"f": signature}, new_id=lambda: f"toolu_{next(numbers)}")


def _deltas(events: list[AnyEvent]) -> str:
    return "".join(event.json for event in events if isinstance(event, ToolDelta))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "schema", [{"type": "string"}, {"type": ["string", "null"]}, {"anyOf": [{"type": "string"}, {"type": "array"}]}]
)
def test_a_long_string_streams(name, schema):
    """A string of 20 KB comes in many deltas, none of them far behind what was read."""
    format = registry()[name]
    assert format.example is not None
    before, after = format.example.raw.split("a b", 1)
    text = LINE * 400
    parser = _parser(format, schema)
    got, deltas, behind = _deltas(parser.feed(before)), 0, 0
    for at in range(0, len(text), 20):
        more = _deltas(parser.feed(text[at : at + 20]))
        got += more
        deltas += bool(more)
        behind = max(behind, len(json.dumps(text[: at + 20], ensure_ascii=False)) - len(got))
    assert deltas > 500
    assert behind < 80
    got += _deltas(parser.feed(after)) + _deltas(parser.finish())
    assert json.loads(got)["x"] == text


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("text", "values"), [("null", (None, "null")), ("nullify", ("nullify",)), ("nul", ("nul",))])
def test_string_or_null(name, text, values):
    """Where the markup does not say that a value is a string, `null` alone is none."""
    format = registry()[name]
    assert format.example is not None
    parser = _parser(format, {"type": ["string", "null"]})
    got = "".join(_deltas(parser.feed(character)) for character in format.example.raw.replace("a b", text))
    assert json.loads(got + _deltas(parser.finish()))["x"] in values
