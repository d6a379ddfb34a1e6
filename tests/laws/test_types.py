"""The types law: the same arguments, written in each format's own way, arrive as the same input, in the types that the
tool's schema wants; what the model wrote in a wrong type is read as the right one where there is one way to."""

from __future__ import annotations

import json
import os
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.api.reply import ToolBlock, parsed_input
from antiphon.parsing.formats import Format, reasoning_named, registry
from antiphon.parsing.outcome import outcome
from tests.laws.writers import writer
from tests.outputs import cut

# `CUTTINGS=2000 make test TESTS=tests/laws` looks harder.
EXAMPLES = int(os.environ.get("CUTTINGS", "40")) // 2
FORMATS = [name for name, format in registry().items() if format.example]


class Typed(NamedTuple):
    """A schema, a value of it, and the same value as a model may write it."""

    schema: dict[str, Any]
    value: Any
    written: Any


WORDS = st.text(alphabet="abcXYZ019 -_.\"'\n:é🎉", max_size=12).filter(
    lambda text: text == text.strip() and text.lower() not in ("null", "none")
)
NAMES = st.sampled_from(["path", "lines", "todos", "the_flag", "mode"])


def _string(wrong: bool) -> st.SearchStrategy[Typed]:
    schema = {"type": "string"}
    if not wrong:
        return WORDS.map(lambda text: Typed(schema, text, text))
    return st.integers(-99, 99).map(lambda number: Typed(schema, str(number), number)) | st.booleans().map(
        lambda flag: Typed(schema, str(flag).lower(), flag)
    )


@st.composite
def _scalar(draw: st.DrawFn, wrong: bool) -> Typed:
    kind, values = draw(
        st.sampled_from(
            [
                ("integer", st.integers(-(2**53), 2**53)),
                ("number", st.floats(-1e9, 1e9).filter(lambda number: number % 1 != 0)),
                ("boolean", st.booleans()),
                ("null", st.none()),
            ]
        )
    )
    value = draw(values)
    schema: dict[str, Any] = {"type": kind}
    if draw(st.booleans()) and kind != "null":
        schema = draw(st.sampled_from([{"enum": [value]}, {"const": value}]))
    return Typed(schema, value, json.dumps(value) if wrong else value)


@st.composite
def typed(draw: st.DrawFn, depth: int, *, listed: bool = False) -> Typed:
    """A schema with a value and how it is written; deeper down too, something in it may be of the wrong type."""
    wrong = draw(st.booleans())
    kind = draw(st.sampled_from(["string", "scalar", "array", "object"] if depth else ["string", "scalar"]))
    if kind == "string":
        return draw(_wrapped(draw(_string(wrong))))
    if kind == "scalar":
        return draw(_wrapped(draw(_scalar(wrong))))
    if kind == "object":
        members = draw(st.dictionaries(NAMES, typed(depth - 1), max_size=3))
        schema = {"type": "object", "properties": {key: member.schema for key, member in members.items()}}
        value = {key: member.value for key, member in members.items()}
        written: Any = {key: member.written for key, member in members.items()}
        return draw(_wrapped(Typed(schema, value, json.dumps(written) if wrong else written)))
    item = draw(typed(depth - 1, listed=True))
    schema = {"type": "array", "items": item.schema}
    size = draw(st.integers(0, 3))
    written = [item.written] * size
    if wrong and size == 1 and not listed and not isinstance(item.value, list | None) and draw(st.booleans()):
        written = item.written
    elif wrong:
        written = json.dumps(written)
    return draw(_wrapped(Typed(schema, [item.value] * size, written)))


@st.composite
def _wrapped(draw: st.DrawFn, plain: Typed) -> Typed:
    """The same, its schema said in another way."""
    schema = plain.schema
    ways = [schema, {"allOf": [schema]}, {"oneOf": [schema]}, {"allOf": [{"description": "x"}, schema]}]
    if isinstance(plain.value, int | float) and not isinstance(plain.written, str):
        ways += [{"anyOf": [schema, {"type": "null"}]}, {**schema, "nullable": True}]
    return plain._replace(schema=draw(st.sampled_from(ways)))


@st.composite
def inputs(draw: st.DrawFn) -> Typed:
    """The input of a call, some of its schemas behind references."""
    members = draw(st.dictionaries(NAMES, typed(2), min_size=1, max_size=3))
    definitions = {key: member.schema for key, member in members.items() if draw(st.booleans())}
    properties = {
        key: {"$ref": f"#/$defs/{key}"} if key in definitions else member.schema for key, member in members.items()
    }
    written = {(key.upper() if draw(st.booleans()) else key): member.written for key, member in members.items()}
    return Typed(
        {"type": "object", "properties": properties, "$defs": definitions},
        {key: member.value for key, member in members.items()},
        written,
    )


def _called(format: Format, schema: dict[str, Any], pieces: list[str]) -> ToolBlock:
    numbers = count()
    tools = {"f": schema, "g": {"type": "object"}}
    reply = outcome(pieces, format, reasoning_named(format.reasoning), tools, new_id=lambda: f"toolu_{next(numbers)}")
    return next(block for block in reply.blocks if isinstance(block, ToolBlock))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=inputs(), data=st.data())
def test_same_input_in_every_format(name, drawn, data):
    """However a format writes an input, whatever in it is of the wrong type, and however the text is cut: the client
    gets the input that the schema wants."""
    format = registry()[name]
    raw = writer(format)(drawn.written)
    called = _called(format, drawn.schema, [raw])
    assert json.dumps(parsed_input(called)) == json.dumps(drawn.value), raw
    places = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    assert _called(format, drawn.schema, cut(raw, places)) == called
    assert _called(format, drawn.schema, list(raw)) == called
