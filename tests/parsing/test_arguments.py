"""What raw texts mean as arguments, by the schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon.parsing.arguments import Signature

STRING, INTEGER, NUMBER, BOOLEAN = ({"type": name} for name in ("string", "integer", "number", "boolean"))
OBJECT, ARRAY = {"type": "object"}, {"type": "array"}
NULLABLE = {"type": ["string", "null"]}
TREE: dict[str, Any] = {"anyOf": [{"$ref": "#/$defs/tree"}, {"$ref": "#/$defs/tree"}, {"type": "integer"}]}
DEFS: dict[str, Any] = {
    "point": {"type": "object", "properties": {"x": INTEGER}},
    "level": {"enum": ["low", "high"]},
    "alias": {"$ref": "#/$defs/point"},
    "tree": TREE,
    "loop": {"$ref": "#/$defs/loop"},
    "json": {"anyOf": [{"$ref": "#/$defs/json"}] * 12 + [{"type": "null"}]},
}

CASES: list[tuple[Any, str, str]] = [
    # A string is what was written, whatever it looks like.
    (STRING, "02134", '"02134"'),
    (STRING, "1e5", '"1e5"'),
    (STRING, "true", '"true"'),
    (STRING, "null", '"null"'),
    (STRING, '{"a": 1}', '"{\\"a\\": 1}"'),
    (STRING, '"quoted"', '"\\"quoted\\""'),
    (STRING, "  two \n lines ", '"  two \\n lines "'),
    (STRING, "", '""'),
    (STRING, "ünï 🎉 \\n", '"ünï 🎉 \\\\n"'),
    ({"type": "str"}, "5", '"5"'),
    ({}, "5", '"5"'),
    (True, "5", '"5"'),
    ({"type": "string", "format": "date"}, "2024-01-01", '"2024-01-01"'),
    # Integers and numbers.
    (INTEGER, "5", "5"),
    (INTEGER, " -7\n", "-7"),
    (INTEGER, "5.0", "5"),
    (INTEGER, "+5", "5"),
    (INTEGER, "007", "7"),
    (INTEGER, "1e3", "1000"),
    (INTEGER, "5.5", '"5.5"'),
    (INTEGER, '"5"', "5"),
    (INTEGER, "five", '"five"'),
    (INTEGER, "1" * 20, "1" * 20),
    (INTEGER, "1" * 5000, '"' + "1" * 5000 + '"'),
    (INTEGER, "1_000", '"1_000"'),
    ({"type": "int"}, "5", "5"),
    ({"type": "long"}, "5", "5"),
    (NUMBER, "5", "5"),
    (NUMBER, "5.0", "5.0"),
    (NUMBER, "1e5", "1e5"),
    (NUMBER, ".5", "0.5"),
    (NUMBER, "5.", "5"),
    (NUMBER, "1e999", '"1e999"'),
    (NUMBER, "NaN", '"NaN"'),
    (NUMBER, "inf", '"inf"'),
    ({"type": "float"}, "2.50", "2.50"),
    ({"type": ["integer", "number"]}, "5.5", "5.5"),
    # Booleans and null.
    (BOOLEAN, "true", "true"),
    (BOOLEAN, "True", "true"),
    (BOOLEAN, "FALSE", "false"),
    (BOOLEAN, "1", "true"),
    (BOOLEAN, "0", "false"),
    (BOOLEAN, "yes", '"yes"'),
    ({"type": "bool"}, "False", "false"),
    (NULLABLE, "null", "null"),
    (NULLABLE, "None", "null"),
    (NULLABLE, "nullable", '"nullable"'),
    (NULLABLE, '"null"', '"\\"null\\""'),
    ({"type": "string", "nullable": True}, "null", "null"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "None", "null"),
    (INTEGER, "null", '"null"'),
    # Alternatives: the narrower type first.
    ({"anyOf": [STRING, INTEGER]}, "5", "5"),
    ({"anyOf": [STRING, INTEGER]}, "five", '"five"'),
    ({"oneOf": [BOOLEAN, STRING]}, "true", "true"),
    ({"anyOf": [STRING, {"type": "array", "items": STRING}]}, '["a"]', '["a"]'),
    ({"anyOf": [STRING, {"type": "array", "items": STRING}]}, "[draft] a", '"[draft] a"'),
    ({"allOf": [{"type": ["string", "integer"]}, INTEGER]}, "5", "5"),
    ({"anyOf": [{"allOf": [INTEGER]}, {"oneOf": [{"type": "null"}]}]}, "5", "5"),
    # Enums and constants.
    ({"enum": ["1", "2"]}, "1", '"1"'),
    ({"enum": [1, 2]}, "1", "1"),
    ({"enum": ["a", 1, None]}, "null", "null"),
    ({"type": "string", "enum": ["low", "high"]}, " high\n", '"high"'),
    ({"enum": ["low", "high"]}, '"low"', '"low"'),
    ({"enum": ["low", "high"]}, "medium", '"medium"'),
    ({"const": 3}, "3", "3"),
    # Objects and lists.
    (OBJECT, '{"a": [1, null]}', '{"a": [1, null]}'),
    (OBJECT, "{'a': True, 'b': None}", '{"a": true, "b": null}'),
    (OBJECT, '"{\\"a\\": 1}"', '{"a": 1}'),
    (OBJECT, '{"a": 1', '"{\\"a\\": 1"'),
    (OBJECT, "free text", '"free text"'),
    (ARRAY, "[1, 2.50]", "[1, 2.50]"),
    (ARRAY, "['a', 'b',]", '["a", "b"]'),
    (ARRAY, "a, b", '"a, b"'),
    ({"type": "list"}, "[]", "[]"),
    ({"type": "dict"}, "{}", "{}"),
    ({"properties": {"a": INTEGER}}, '{"a": 1}', '{"a": 1}'),
    ({"items": STRING}, '["a"]', '["a"]'),
    # References, to anything and to themselves.
    ({"$ref": "#/$defs/point"}, '{"x": 1}', '{"x": 1}'),
    ({"$ref": "#/$defs/alias"}, '{"x": 1}', '{"x": 1}'),
    ({"$ref": "#/$defs/level"}, "low", '"low"'),
    ({"anyOf": [{"$ref": "#/$defs/point"}, {"type": "null"}]}, "null", "null"),
    ({"$ref": "#/$defs/tree"}, "5", "5"),
    ({"$ref": "#/$defs/loop"}, "5", '"5"'),
    ({"$ref": "#/$defs/json"}, "null", "null"),
    ({"$ref": "#/$defs/tree/anyOf/2"}, "5", "5"),
    ({"$ref": "#/nowhere"}, "5", '"5"'),
    ({"$ref": "https://example.com/schema"}, "5", '"5"'),
    # Schemas that are none.
    ({"anyOf": None, "type": 7}, "5", '"5"'),
    ({"type": "object", "properties": None}, "{}", "{}"),
]


@pytest.mark.parametrize(("schema", "raw", "expected"), CASES)
def test_a_text_becomes_what_its_schema_asks_for(schema, raw, expected):
    """A raw text becomes the value that its schema asks for, where there is one reading of it."""
    signature = Signature({"type": "object", "properties": {"x": schema}, "$defs": DEFS})
    coerced = signature.coerce("x", raw)
    assert coerced == expected
    json.loads(coerced)


def test_parameters_of_combined_schemas():
    """Parameters are found through references and combinations."""
    signature = Signature(
        {
            "allOf": [{"properties": {"a": INTEGER}}, {"$ref": "#/$defs/more"}],
            "properties": {"b": STRING},
            "additionalProperties": INTEGER,
            "$defs": {"more": {"properties": {"c": BOOLEAN}}},
        }
    )
    assert signature.parameters() == ["a", "c", "b"]
    assert signature.coerce("a", "1") == "1"
    assert signature.coerce("c", "1") == "true"
    assert signature.coerce("other", "1") == "1"


def test_schema_that_is_its_own_part():
    """A schema that contains itself is read to an end."""
    signature = Signature({"properties": {"x": {"$ref": "#"}}, "allOf": [{"$ref": "#"}]})
    assert signature.coerce("x", '{"x": {}}') == '{"x": {}}'


def test_cut_values_are_closed():
    """What broke off in the middle is closed, if there was anything to close."""
    signature = Signature({"properties": {"a": ARRAY, "o": OBJECT, "n": INTEGER}})
    assert signature.coerce("a", "[1, [2", cut=True) == "[1, [2]]"
    assert signature.coerce("o", '{"k": "v', cut=True) == '{"k": "v"}'
    assert signature.coerce("n", "12", cut=True) == "12"


@pytest.mark.parametrize(
    ("schema", "head", "only_text"),
    [
        (NULLABLE, "", None),
        (NULLABLE, "n", None),
        (NULLABLE, "null \n", None),
        (NULLABLE, "nu", None),
        (NULLABLE, "nul1", True),
        (NULLABLE, "None", None),
        (NULLABLE, "No,", True),
        (NULLABLE, "a", True),
        (NULLABLE, "{", True),
        ({"type": ["string", "object"]}, " {", False),
        ({"type": ["string", "array"]}, "{", True),
        ({"type": ["string", "array"]}, "[", False),
        ({"type": ["string", "integer"]}, "12", None),
        ({"type": ["string", "integer"]}, "12a", True),
        ({"type": ["string", "boolean"]}, "tru", None),
        ({"type": ["string", "boolean"]}, "trunk", True),
    ],
)
def test_a_string_streams_once_it_is_certain(schema, head, only_text):
    """A value that may be a string streams from where it can be nothing else."""
    assert Signature({"properties": {"x": schema}}).only_text("x", head) is only_text
