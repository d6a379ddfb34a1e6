"""Laws of schemas and numbers, over whatever can be drawn."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from operator import ge, gt, le, lt

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from antiphon.api.errors import BadRequest
from antiphon.constraint.schema import lower
from antiphon.constraint.schema.capabilities import CAPABILITIES
from antiphon.constraint.schema.modern import modern

from .drawing import SCHEMAS, VALUES
from .matching import Grammar

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=150)


def _validator(schema):
    return jsonschema_rs.Draft202012Validator(modern(schema).schema, validate_formats=False)


@PATIENT
@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=12))
def test_a_grammar_is_never_stricter_than_its_schema(schema, values):
    """Every value that matches a schema is allowed by its grammar; where nothing is left to check, no other is. A
    schema is refused only where none matches."""
    valid = _validator(schema)
    try:
        grammar = Grammar(schema)
    except BadRequest:
        assert not any(map(valid.is_valid, values))
        return
    for value in values:
        if valid.is_valid(value):
            assert grammar.holds(value), (value, grammar.lowered)
        elif not grammar.lowered.unheld:
            assert not grammar.holds(value), (value, grammar.lowered)


@PATIENT
@given(SCHEMAS, st.randoms(use_true_random=False))
def test_what_is_drawn_is_valid(schema, source: random.Random):
    """Whatever a grammar allows is JSON and goes on to an end; where nothing is left to check it matches the schema."""
    try:
        grammar = Grammar(schema)
    except BadRequest:
        return
    drawn = grammar.drawn(source, longest=200)
    assume(drawn is not None)
    value = json.loads(drawn)
    if not grammar.lowered.unheld:
        _validator(schema).validate(value)


@pytest.mark.parametrize("dialect", CAPABILITIES)
@settings(PATIENT, max_examples=50)
@given(schema=SCHEMAS)
def test_a_dialect_gets_only_what_its_table_has(dialect, schema):
    """A dialect is given nothing but the keywords and formats of its table."""
    try:
        lowered = lower(schema, dialect).schema
    except BadRequest:
        return
    waiting = [lowered, *lowered.get("$defs", {}).values()]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            assert part.keys() <= CAPABILITIES[dialect].keywords | {"$defs", "allOf"}, part
            assert "allOf" not in part or part["type"] == "string"
            waiting += [*part.get("anyOf", ()), *part.get("prefixItems", ()), part.get("items")]
            waiting += [*part.get("properties", {}).values(), *part.get("patternProperties", {}).values()]
            waiting.append(part.get("additionalProperties"))


BOUNDS = st.decimals("-120", "120", places=2).map(float) | st.integers(-(10**20), 10**20) | st.integers(-120, 120)


@PATIENT
@given(
    st.dictionaries(
        st.sampled_from(["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"]), BOUNDS, max_size=2
    ),
    st.booleans(),
    st.lists(st.decimals("-130", "130", places=3) | st.integers(-(10**21), 10**21).map(Decimal), min_size=1),
)
def test_numbers_are_held_to_their_bounds(bounds, whole, numbers):
    """A number is allowed exactly if it is within its bounds, however it and they are signed, and however long."""
    schema = {"type": "integer" if whole else "number", **bounds}
    near = [
        Decimal(repr(bound)) + each for bound in bounds.values() for each in map(Decimal, ("0", "0.01", "-0.01", "1"))
    ]
    try:
        grammar = Grammar(schema)
    except BadRequest:
        grammar = None
    for number in (*numbers, *near):
        written = format(number.normalize(), "f")
        if written == "-0" or len(written.partition(".")[0].lstrip("-")) > 17 or (whole and "." in written):
            continue
        expected = _is_within(Decimal(written), bounds)
        assert (grammar is not None and grammar.allows(written)) == expected, (schema, written)


def _is_within(number: Decimal, bounds: dict[str, float]) -> bool:
    holds = {"minimum": ge, "exclusiveMinimum": gt, "maximum": le, "exclusiveMaximum": lt}
    return all(holds[keyword](number, Decimal(repr(bound))) for keyword, bound in bounds.items())


@PATIENT
@given(st.randoms(use_true_random=False), st.sampled_from(["integer", "number"]))
def test_every_number_ends(source: random.Random, kind):
    """No number runs on: whatever is drawn ends within 50 characters, and is a number of JSON."""
    grammar = Grammar({"type": kind, "minimum": source.choice([-5, 0, 0.5, 7]), "maximum": 10**6})
    written = bytearray()
    while True:
        mask = grammar.matcher.compute_bitmask()
        allowed = [byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1]
        if not allowed or grammar.matcher.is_stopped():
            break
        written.append(source.choice(allowed))
        assert grammar.matcher.consume_token(written[-1])
        assert len(written) <= 50
    json.loads(written)
