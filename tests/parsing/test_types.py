"""Arguments of the wrong type, case by case, in a format that writes them as JSON."""

from __future__ import annotations

import json
from itertools import count

import pytest

from antiphon.api.events import ToolDelta
from antiphon.api.reply import ToolBlock
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.parsing.outcome import outcome
from antiphon.parsing.parser import Parser

STRING, INTEGER, NUMBER, BOOLEAN, NULL = ({"type": name} for name in ("string", "integer", "number", "boolean", "null"))
STRINGS, INTEGERS = {"type": "array", "items": STRING}, {"type": "array", "items": INTEGER}
TODO = {"type": "object", "properties": {"content": STRING, "done": BOOLEAN}}
TODOS = {"type": "array", "items": TODO}

READ = {
    "array in a string": (TODOS, '"[{\\"content\\": \\"x\\"}]"', '[{"content": "x"}]'),
    "object in a string": (TODO, '"{\\"content\\": \\"x\\"}"', '{"content": "x"}'),
    "boolean in a string": (BOOLEAN, '"true"', "true"),
    "boolean as Python has it": (BOOLEAN, '"False"', "false"),
    "boolean as a number": (BOOLEAN, "1", "true"),
    "integer in a string": (INTEGER, '"5"', "5"),
    "integer with a point": (INTEGER, "5.0", "5"),
    "number in a string": (NUMBER, '"2.50"', "2.50"),
    "null in a string": ({"anyOf": [INTEGER, NULL]}, '"null"', "null"),
    "number for a string": (STRING, "5", '"5"'),
    "boolean for a string": (STRING, "true", '"true"'),
    "object for a string": (STRING, '{"a": [1]}', '"{\\"a\\": [1]}"'),
    "one string for a list": (STRINGS, '"a, b"', '["a, b"]'),
    "one object for a list": (TODOS, '{"content": 5}', '[{"content": "5"}]'),
    "one object in a string for a list": (TODOS, '"{\\"content\\": 5}"', '[{"content": "5"}]'),
    "one number in a string for a list": (INTEGERS, '"5"', "[5]"),
    "wrong inside of wrong": (TODOS, '"[{\\"content\\": 5, \\"done\\": 0}]"', '[{"content": "5", "done": false}]'),
    "wrong deep down": (TODOS, '[{"content": "a"}, {"done": "false"}]', '[{"content": "a"}, {"done": false}]'),
    "quotes of Python": (INTEGERS, '"[1, 2,]"', "[1, 2]"),
    "items by place": ({"type": "array", "prefixItems": [STRING, INTEGER]}, '[1, "2", "3"]', '["1", 2, "3"]'),
    "items by place in older drafts": ({"type": "array", "items": [INTEGER, STRING]}, '["1", 2]', '[1, "2"]'),
    "values of a map": ({"type": "object", "additionalProperties": INTEGER}, '{"A": "1"}', '{"A": 1}'),
    "values by pattern": ({"type": "object", "patternProperties": {"^n_": INTEGER}}, '{"n_a": "1"}', '{"n_a": 1}'),
    "choice of numbers": ({"enum": [1, 2]}, '"1"', "1"),
    "choice of strings": ({"enum": ["1", "2"]}, "1", '"1"'),
    "the one choice left": ({"enum": [1, "a"]}, '"1"', "1"),
    "constant": ({"const": 3}, '"3"', "3"),
    "reference with siblings": ({"$ref": "#/$defs/count", "description": "x"}, '"5"', "5"),
    "reference by anchor": ({"$ref": "#total"}, '"5"', "5"),
    "reference to itself": ({"$ref": "#/$defs/tree"}, '{"in": ["{\\"n\\": \\"2\\"}"]}', '{"in": [{"n": 2}]}'),
    "all of several": ({"allOf": [{"type": ["integer", "string"]}, {"type": ["number", "null"]}]}, '"5"', "5"),
    "members of alternatives": (
        {"anyOf": [{"properties": {"a": INTEGER}}, {"properties": {"b": BOOLEAN}}]},
        '{"a": "1", "b": "true"}',
        '{"a": 1, "b": true}',
    ),
    "nullable": ({"type": "integer", "nullable": True}, '"null"', "null"),
    "name of another case": (TODO, '{"Content": 5, "DONE": "true"}', '{"content": "5", "done": true}'),
}  # fmt: skip

KEPT = {
    "string that may be one": ({"type": ["string", "integer"]}, '"5"'),
    "string or list of strings": ({"anyOf": [STRING, STRINGS]}, '"[\\"a\\"]"'),
    "number where string or boolean is wanted": ({"type": ["string", "boolean"]}, "1"),
    "nothing said": ({}, '"5"'),
    "anything among the alternatives": ({"anyOf": [INTEGER, {}]}, '"5"'),
    "text that holds no number": (INTEGER, '"five"'),
    "number that is none of the type": (INTEGER, "5.5"),
    "list in a string that breaks off": (STRINGS, '"[\\"a\\", \\"b"'),
    "list in a string with words after it": (STRINGS, '"[draft] a"'),
    "string for a list of whatever": ({"type": "array"}, '"a"'),
    "string that may be a list of lists": ({"type": "array", "items": STRINGS}, '["a"]'),
    "null where none is wanted": (STRING, "null"),
    "list for a string": (STRING, '["a"]'),
    "choice that is not there": ({"enum": [1, "a"]}, '"2"'),
    "spelling and spaces": (
        {"type": "object", "properties": {"a": NUMBER}},
        '{ "b":"\\u00e9\\/ü" , "a":1.50e1,"c" :[ ]}',
    ),
    "names that two could be": ({"type": "object", "properties": {"ab": STRING, "AB": STRING}}, '{"Ab": "x"}'),
    "names that have come already": (TODO, '{"content": "x", "Content": "y"}'),
    "names of a map": ({**TODO, "additionalProperties": STRING}, '{"Content": "x"}'),
}
DEFS = {
    "count": INTEGER,
    "sum": {"$anchor": "total", **INTEGER},
    "deep": {"type": "array", "items": {"$ref": "#/$defs/deep"}},
    "tree": {"type": "object", "properties": {"n": INTEGER, "in": {"items": {"$ref": "#/$defs/tree"}}}},
}


def _schema(schema):
    return {"type": "object", "properties": {"x": schema}, "$defs": DEFS}


def _read(schema, json_text, pieces=list):
    numbers = count()
    raw = f'<tool_call>{{"name": "f", "arguments": {{"x": {json_text}}}}}</tool_call>'
    reply = outcome(
        pieces(raw),
        format_named("hermes"),
        reasoning_named("think"),
        {"f": _schema(schema)},
        new_id=lambda: f"t{next(numbers)}",
    )
    return reply.blocks[0].input


@pytest.mark.parametrize("case", READ)
def test_one_way_to_read_it(case):
    """What the schema does not allow is read in the one way that it does, and all else stays as it was written."""
    schema, written, expected = READ[case]
    for pieces in (list, lambda raw: [raw]):
        assert _read(schema, written, pieces) == f'{{"x": {expected}}}'


@pytest.mark.parametrize("case", KEPT)
def test_nothing_is_guessed(case):
    """What the schema allows, and what there is no way or more than one to read, is passed on to the last character."""
    schema, written = KEPT[case]
    for pieces in (list, lambda raw: [raw]):
        assert _read(schema, written, pieces) == f'{{"x": {written}}}'


@pytest.mark.parametrize(
    ("tools", "called", "expected"),
    [
        (("read_file",), "Read_File", "read_file"),
        (("Read", "Write"), "read", "Read"),
        (("Read",), "functions.read", "Read"),
        (("get_it",), "GET_IT", "get_it"),
        (("Read", "READ"), "read", "read"),
    ],
)
@pytest.mark.parametrize(
    ("format", "raw"),
    [
        ("hermes", '<tool_call>{"name": "NAME", "arguments": {}}</tool_call>'),
        ("kimi_k2", "<|tool_call_begin|>NAME<|tool_call_argument_begin|>{}<|tool_call_end|>"),
        ("qwen3_coder", "<tool_call><function=NAME></function></tool_call>"),
        ("gemma4", "<|tool_call>call:NAME{}<tool_call|>"),
        ("olmo3", "<function_calls>NAME()</function_calls>"),
        ("llama3_json", '{"name": "NAME", "parameters": {}}'),
    ],
)
def test_names_of_another_case(format, raw, tools, called, expected):
    """A name that differs from one declared tool's by case alone is that one's."""
    signatures = {name: {"type": "object"} for name in tools}
    if format == "llama3_json" and expected not in tools:
        pytest.skip("without markers, only a declared name makes a call")
    raw = raw.replace("NAME", called)
    reply = outcome([raw], format_named(format), reasoning_named("none"), signatures, new_id=lambda: "t")
    assert [block.name for block in reply.blocks if isinstance(block, ToolBlock)] == [expected]


def test_held_until_it_is_decided():
    """Text streams; a quote where the schema wants none holds the value back, and nothing else, until it ends."""
    signature = Signature({"properties": {"text": STRING, "list": STRINGS}})
    parser = Parser(format_named("hermes"), reasoning_named("none"), {"f": signature}, new_id=lambda: "t")

    def fed(text):
        return "".join(event.json for event in parser.feed(text) if isinstance(event, ToolDelta))

    assert fed('<tool_call>{"name": "f", "arguments": {"text": "one t') == '{"text": "one t'
    assert fed("wo") == "wo"
    assert fed('", "list": "[\\"a') == '", "list": '
    assert fed('\\", \\"b\\"') == ""
    assert fed(']", "text": "x') == '["a", "b"], "text": "x'
    assert fed('"}}</tool_call>') == '"}'


def test_depth_stays_bounded():
    """Strings in strings are read no deeper than clients can read."""
    inner = json.dumps("[" * 150 + "]" * 150)
    shallow, deep = (_read({"$ref": "#/$defs/deep"}, "[" * size + inner + "]" * size) for size in (10, 100))
    assert shallow == f'{{"x": {"[" * 160}{"]" * 160}}}'
    assert deep == f'{{"x": {"[" * 100}{inner}{"]" * 100}}}'
