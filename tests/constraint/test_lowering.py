"""What becomes of each keyword: what the grammar holds, what is left to check, and what is refused."""

from __future__ import annotations

import json
import random

import pytest

from antiphon.api.errors import BadRequest
from antiphon.constraint.schema import lower

from .matching import Grammar

OBJECT = {"type": "object"}

# A schema, values that must be allowed, values that must not be, keywords that are left to the check.
CASES = {
    "siblings of $ref": (
        {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n", "minimum": 3}, [3, 99], [2, "3"], set(),
    ),
    "no siblings before 2019": (
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"n": {"type": "integer"}},
         "properties": {"a": {"$ref": "#/definitions/n", "minimum": 3}}, **OBJECT}, [{"a": 1}], [{"a": "1"}], set(),
    ),
    "circular with siblings": (
        {"$defs": {"t": {**OBJECT, "properties": {"c": {"$ref": "#/$defs/t", "required": ["c"]}, "v": {}}}},
         "$ref": "#/$defs/t"}, [{}, {"c": {"c": {"c": {"c": {"c": {}}}}}}][:1], [{"c": {}}], set(),
    ),
    "itself": ({"$ref": "#"}, [1, "a", {"b": [None]}], [], set()),
    "$anchor and $id": (
        {"$id": "http://a.b/c", "$defs": {"x": {"$anchor": "y", "type": "null"}, "z": {"$id": "q", "const": 1}},
         "anyOf": [{"$ref": "#y"}, {"$ref": "http://a.b/q"}]}, [None, 1], [2, "y"], set(),
    ),
    "pointer into items": (
        {"prefixItems": [{"type": "string"}, {"$ref": "#/prefixItems/0"}], "type": "array", "minItems": 2},
        [["a", "b"]], [["a", 1], ["a"]], set(),
    ),
    "draft 4": (
        {"type": "array", "items": [{"minimum": 3, "exclusiveMinimum": True, "type": "integer"}],
         "additionalItems": False}, [[], [4]], [[3], [4, 5]], set(),
    ),
    "dependencies": (
        {**OBJECT, "dependencies": {"a": ["b"]}, "properties": {"a": {}, "b": {}}},
        [{}, {"b": 1}, {"a": 1, "b": 1}], [{"a": 1}], set(),
    ),
    "oneOf apart": (
        {"oneOf": [{"type": "string"}, {"type": "integer"}]}, ["a", 1], [None, 1.5], set(),
    ),
    "oneOf told apart by a member": (
        {"oneOf": [{**OBJECT, "properties": {"k": {"const": each}}, "required": ["k"]} for each in "abcdefghijklmnop"]},
        [{"k": "p", "p": 1}], [{"k": "q"}, {}], set(),
    ),
    "oneOf of many values": (
        {"type": "string", "oneOf": [{"const": f"c{index}", "title": "A"} for index in range(600)]},
        ["c0", "c599"], ["c", 0], set(),
    ),
    "oneOf told apart by a flag": (
        {"oneOf": [{**OBJECT, "properties": {"k": {"const": each}}, "required": ["k"]} for each in (*range(13), True)]},
        [{"k": 12}, {"k": True}, {"k": 1}], [{"k": 13}, {"k": False}], set(),
    ),
    "true beside 1": (
        {"anyOf": [{"const": True}, {"const": 1}, {"enum": [[0]]}, {"enum": [[False]]}]},
        [True, 1, [0], [False]], [0, False, [1]], set(),
    ),
    "oneOf that overlaps": (
        {**OBJECT, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"a": 1}, {"b": 1}], [{}, {"a": 1, "b": 2}], set(),
    ),
    "if": (
        {**OBJECT, "properties": {"a": {"type": "integer"}, "b": {}}, "if": {"properties": {"a": {"minimum": 5}}},
         "then": {"required": ["b"]}}, [{"a": 1}, {"a": 5, "b": 1}], [{"a": 5}], set(),
    ),
    "many ifs that exclude each other": (
        {**OBJECT, "properties": {"k": {"enum": list("abcdefghijklmnopqrst")}}, "required": ["k"],
         "allOf": [{"if": {"properties": {"k": {"const": each}}}, "then": {"required": [f"m{each}"]}}
                   for each in "abcdefghijklmnopqrs"]},
        [{"k": "a", "ma": 1}, {"k": "s", "ms": 1}, {"k": "t"}], [{"k": "a"}, {"k": "s", "ma": 1}, {"k": "u"}], set(),
    ),
    "not": ({**OBJECT, "not": {"required": ["a"]}}, [{}, {"b": 1}], [{"a": 1}], set()),
    "not, which is left": ({"type": "string", "not": {"enum": ["a"]}}, ["b", "a"], [1], {"not"}),
    "enum beside all": (
        {"enum": [1, "a", "b", None], "type": "string", "not": {"const": "b"}}, ["a"], [1, "b", None], set(),
    ),
    "enum in a choice": (
        {"type": "string", "anyOf": [{"enum": ["a"]}, {"pattern": "^x:"}]}, ["a", "x:1"], ["b"], set(),
    ),
    "const object": ({"const": {"b": [1], "a": None}}, [{"b": [1], "a": None}], [{"b": [1]}], set()),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, [[1, 2], [1, 1]], [1], {"uniqueItems"}),
    "uniqueItems of one": ({"type": "array", "uniqueItems": True, "maxItems": 1}, [[1]], [[1, 2]], set()),
    "contains": ({"type": "array", "contains": {"const": 1}}, [[1], [2]], [{}], {"contains"}),
    "unevaluatedProperties alone": (
        {**OBJECT, "properties": {"a": {}}, "patternProperties": {"^x": {}}, "unevaluatedProperties": False},
        [{"a": 1, "xa": 1}], [{"b": 1}], set(),
    ),
    "unevaluatedProperties beside a choice": (
        {**OBJECT, "anyOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False},
        [{"a": 1}, {"b": 1}], [1], {"unevaluatedProperties"},
    ),
    "unevaluatedItems alone": (
        {"type": "array", "prefixItems": [{}], "unevaluatedItems": {"const": 1}}, [[2], [2, 1]], [[2, 2]], set(),
    ),
    "unevaluatedItems beside contains": (
        {"type": "array", "contains": {"const": 1}, "minContains": 0, "unevaluatedItems": False},
        [[1], [2]], [1], {"contains", "unevaluatedItems"},
    ),
    "propertyNames": (
        {**OBJECT, "propertyNames": {"pattern": "^x"}, "properties": {"xa": {"type": "integer"}}},
        [{"xa": 1, "xb": ""}], [{"a": 1}, {"xa": ""}], set(),
    ),
    "propertyNames by length": (
        {**OBJECT, "propertyNames": {"minLength": 2}}, [{"ab": 1}], [{"a": 1}], set(),
    ),
    "propertyNames by enum": (
        {**OBJECT, "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "integer"}},
        [{"a": 1, "b": 2}], [{"c": 1}, {"a": "1"}], set(),
    ),
    "patternProperties beside an equal property": (
        {**OBJECT, "properties": {"a": {"type": "integer"}}, "patternProperties": {"^a$": {"minimum": 3}},
         "additionalProperties": False}, [{"a": 3}, {}], [{"a": 2}, {"b": 1}], set(),
    ),
    "patternProperties and others": (
        {**OBJECT, "patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
        [{"x-a": "", "b": 1}, {"x": 1}], [{"x-a": 1}, {"b": ""}], set(),
    ),
    "patternProperties that overlap": (
        {**OBJECT, "patternProperties": {"a": {"type": "integer"}, "b": {"type": "string"}},
         "additionalProperties": False}, [{"xa": 1, "xb": ""}], [{"c": 1}, {"a": None}], {"patternProperties"},
    ),
    "patternProperties with a look-ahead": (
        {**OBJECT, "patternProperties": {"^(?!x)": {"type": "integer"}}, "additionalProperties": {"type": "string"}},
        [{"a": 1, "x": ""}], [{"a": None}], {"patternProperties"},
    ),
    "look-ahead": ({"type": "string", "pattern": "^(?!x)", "maxLength": 3}, ["a", "x"], ["abcd"], {"pattern"}),
    "two patterns": (
        {"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, ["ab", "axb"], ["a", "b"], set(),
    ),
    "unknown format": ({"type": "string", "format": "path"}, ["/a", ""], [1], set()),
    "known format": ({"type": "string", "format": "date"}, ["2026-01-31"], ["x"], set()),
    "a step of too many digits": (
        {"anyOf": [{"type": "number", "multipleOf": 0.0007}, {"type": "string", "pattern": "^a+$"}]},
        [0.0014, "a"], ["b"], {"multipleOf"},
    ),
    "bounds and multipleOf": (
        {"type": "integer", "minimum": 10, "maximum": 1000, "multipleOf": 7}, [14, 994], [7, 15, 1001], set(),
    ),
    "multiples of fractions": (
        {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 1}, [0.25, 1, 0], [0.3], set(),
    ),
    "large bounds": ({"type": "integer", "minimum": 2**70}, [2**70, 2**70 + 1], [2**70 - 1, 1, -(2**71)], set()),
    "bounds that no number passes": (
        {"type": "number", "minimum": -1.7976931348623157e308, "maximum": 1.7976931348623157e308},
        [0, -2.5, 10**9], ["a"], set(),
    ),
    "minProperties of a map": (
        {**OBJECT, "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2},
        [{"a": 1}, {"a": 1, "b": 2}], [{}, {"a": 1, "b": 2, "c": 3}], set(),
    ),
    "maxProperties of a list": (
        {**OBJECT, "properties": {"a": {}, "b": {}, "c": {}}, "maxProperties": 2}, [{"a": 1}], [], {"maxProperties"},
    ),
    "maxItems out of proportion": ({"type": "array", "maxItems": 10**9}, [[1, 2]], [{}], {"maxItems"}),
    "minItems beyond a grammar": (
        {"type": "array", "items": {"const": 0}, "minItems": 2000}, [[0] * 2000], [[0], [1] * 2000], {"minItems"},
    ),
    "no type": ({"properties": {"a": {"type": "integer"}}}, [{"a": 1}, [], "x", 1.5, None], [{"a": ""}], set()),
    "malformed keywords": (
        {**OBJECT, "properties": {"a": {"type": "integer", "required": True, "pattern": "["}}}, [{"a": 1}], [{"a": ""}],
        {"required", "pattern"},
    ),
    "members called like keywords": (
        {**OBJECT, "properties": {"enum": {"$ref": "#/$defs/x"}, "default": {"const": 1}},
         "$defs": {"x": {"type": "null"}}},
        [{"enum": None, "default": 1}], [{"enum": 1}], set(),
    ),
    "a choice that no value fits": (
        {**OBJECT, "properties": {"a": {"anyOf": [False, {"allOf": [{"type": "string"}, {"type": "null"}]}]}}},
        [{}, {"b": 1}], [{"a": 1}], set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_keyword_is_held_or_named(name):
    """The grammar allows what the schema allows, refuses what it refuses, and what it cannot tell is named."""
    schema, good, bad, unheld = CASES[name]
    grammar = Grammar(schema)
    assert {each.keyword for each in grammar.lowered.unheld} == unheld
    for value in good:
        assert grammar.holds(value), value
    for value in bad:
        assert not grammar.holds(value), value


@pytest.mark.parametrize("name", CASES)
def test_no_dead_end(name):
    """Whatever is drawn from the grammar goes on until it is a value: nothing leads where only blanks are left."""
    grammar = Grammar(CASES[name][0])
    source = random.Random(name)
    for _ in range(10):
        drawn = grammar.drawn(source, longest=300)
        if drawn is not None:
            json.loads(drawn)


IMPOSSIBLE = {
    "contradiction": ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "#"),
    "in a member": (
        {**OBJECT, "properties": {"a": {"minimum": 5, "maximum": 4, "type": "integer"}}, "required": ["a"]},
        "#/properties/a",
    ),
    "false": ({**OBJECT, "properties": {"a": False}, "required": ["a"]}, "#/properties/a"),
    "no end": ({**OBJECT, "properties": {"n": {"$ref": "#"}}, "required": ["n"]}, "#"),
    "no multiple": ({"type": "integer", "minimum": 8, "maximum": 13, "multipleOf": 7}, "#"),
    "no text": ({"type": "string", "pattern": "^a$", "minLength": 3}, "#"),
    "enum": ({"enum": [1, 2], "type": "string"}, "#"),
    "const beside enum": ({"const": "c", "enum": ["a", "b"]}, "#"),
    "another host": ({"$ref": "https://example.com/schema.json"}, "#/$ref"),
    "nowhere": ({"properties": {"a": {"$ref": "#/$defs/a"}}}, "#/properties/a/$ref"),
    "too long for the window": ({"type": "array", "items": {"type": "integer"}, "minItems": 10**9}, "#"),
    "too long by their product": (
        {"type": "array", "minItems": 900, "items": {"type": "array", "minItems": 900, "items": {"type": "null"}}}, "#",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_nothing_can_match_is_refused(name):
    """What no value can match is refused before anything is generated, with the place in the client's schema."""
    schema, place = IMPOSSIBLE[name]
    with pytest.raises(BadRequest) as refused:
        lower(schema, "llguidance", path="tools.3.input_schema", window=4096)
    assert refused.value.message.startswith(f"tools.3.input_schema at {place}")


def test_listed_members_are_the_only_ones():
    """An object that lists its members has no others, whatever it is put together from; a map stays a map, and what is
    demanded without being listed may be given."""
    base = {**OBJECT, "properties": {"a": {}}}
    grammar = Grammar({"allOf": [base, {"properties": {"b": {}}}], "required": ["a", "z"]}, closing=True)
    assert grammar.holds({"a": 1, "b": 2, "z": 3})
    assert not grammar.holds({"a": 1, "z": 3, "c": 4})
    assert Grammar({**base, "additionalProperties": {"type": "integer"}}, closing=True).holds({"q": 1})
    assert Grammar({**OBJECT, "not": {"required": ["a"]}}, closing=True).holds({"q": 1})


def test_what_is_evaluated_is_listed():
    """An object without unevaluated members has only those that are listed beside it or in what it refers to."""
    base = {"$defs": {"a": {**OBJECT, "properties": {"a": {}}}}, "$ref": "#/$defs/a"}
    grammar = Grammar({**base, "properties": {"b": {}}, "unevaluatedProperties": False}, closing=True)
    assert grammar.holds({"a": 1, "b": 2})
    assert not grammar.holds({"a": 1, "c": 2})


@pytest.mark.parametrize(
    ("pattern", "reason"), [("^(?=x)a", "look-around"), (r"^(a)\1$", "backreferences are not supported")]
)
def test_what_is_wrong_with_an_expression_is_told(pattern, reason):
    """The reason tells what of an expression no grammar knows."""
    (told,) = lower({"type": "string", "pattern": pattern}, "llguidance").unheld
    assert reason in told.reason


def test_a_schema_is_lowered_once():
    """The same schema is lowered once."""
    schema = {**OBJECT, "properties": {"a": {"type": "integer"}}}
    assert lower(schema, "llguidance") is lower(json.loads(json.dumps(schema)), "llguidance")
