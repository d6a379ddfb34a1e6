"""Awkward schemas in the embedded engine, whose llguidance is another build than the one that compiles them first."""

from __future__ import annotations

import json
import urllib.error
from typing import Any

import jsonschema_rs
import pytest

from tests.constraint.matching import Grammar
from tests.end_to_end.conftest import Server
from tests.end_to_end.test_real_model import message

pytestmark = pytest.mark.xdist_group("engine")

WORD = {"type": "string", "maxLength": 6}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}


def record(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


SCHEMAS: dict[str, dict[str, Any]] = {
    "a set": record(a={"type": "array", "items": {"enum": ["x", "y"]}, "uniqueItems": True, "maxItems": 2}),
    "one of": record(a={"oneOf": [DIGIT, {"type": "boolean"}, WORD]}),
    "not": record(a={**WORD, "not": {"const": "q"}}),
    "nullable": record(a={"type": ["integer", "null"], "minimum": -3, "maximum": 3}),
    "numbers": record(a={"type": "number", "minimum": 0.5, "exclusiveMaximum": 2}, b={"type": "number"}),
    "steps": record(a={"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 50}),
    "beyond 64 bits": record(a={"type": "integer", "minimum": 2**63, "maximum": 2**70}),
    "a map": {"type": "object", "additionalProperties": DIGIT, "maxProperties": 3},
    "names by pattern": {"type": "object", "patternProperties": {"^[ab]$": DIGIT}, "additionalProperties": False},
    "a tuple": record(a={"type": "array", "prefixItems": [DIGIT, WORD], "items": False, "minItems": 2}),
    "a look-ahead": record(a={"type": "string", "pattern": "^(?=x)x{3}$"}),
    "lines": record(a={"type": "string", "pattern": '^a\\n"b+c$', "maxLength": 8}),
    "a text of lines": record(a={"const": 'The first.\n"The second" is longer, and none of it may be lost.'}),
    "an address": record(a={"type": "string", "format": "uri", "maxLength": 20}),
    "a format": record(a={"type": "string", "format": "date"}, b={"type": "string", "format": "byte", "maxLength": 6}),
    "if, then": {**record(a={"type": "boolean"}), "if": record(a={"const": True}), "then": {"required": ["a"]}},
    "a tree": {
        "$defs": {"node": record(value=DIGIT) | {"additionalProperties": False}},
        **record(
            root={"$ref": "#/$defs/node"}, nodes={"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2}
        ),
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("forced", [False, True], ids=["output", "call"])
def test_both_builds_mean_the_same(real_server: Server, name: str, forced: bool) -> None:
    """A whole reply matches its schema, and the text of a cut one begins what the first build takes. Only where a part
    of the schema is left to be checked may a request end in an error, which says where the value went wrong."""
    schema = SCHEMAS[name]
    grammar = Grammar(schema, closing=True)
    fields: dict[str, Any] = {"max_tokens": 60, "messages": [{"role": "user", "content": "Make something up."}]}
    if forced:
        fields["tools"] = [{"name": "f", "description": "Takes it.", "input_schema": schema}]
        fields["tool_choice"] = {"type": "tool", "name": "f"}
    else:
        fields["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    try:
        reply = message(real_server, **fields)
    except urllib.error.HTTPError as error:
        problem = json.load(error)["error"]["message"]
        found = bool(grammar.lowered.unheld) and "does not match its schema: at $" in problem
        assert found, problem
        return
    cut = reply["stop_reason"] == "max_tokens"
    if forced:
        assert cut or [call["type"] for call in reply["content"]] == ["tool_use"]
        assert cut or jsonschema_rs.is_valid(schema, reply["content"][0]["input"])
    else:
        text = "".join(block["text"] for block in reply["content"])
        assert grammar.begins(text), text
        assert cut or jsonschema_rs.is_valid(schema, json.loads(text))
