"""A reply that is nothing but call objects is these calls; with anything else in it, it is text."""

from __future__ import annotations

from itertools import count

import pytest

from antiphon.api.events import TextDelta
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import format_named, reasoning_named, registry
from antiphon.parsing.outcome import outcome
from antiphon.parsing.parser import Parser
from tests.outputs import content, cut

TOOLS = {
    "f": {"type": "object", "properties": {"n": {"type": "integer"}}},
    "get_it": {"type": "object"},
}
# Formats that read unmarked calls in the midst of text, too, by rules of their own, or whose replies are messages.
OWN_RULES = ("llama3_json", "xlam", "pythonic", "lfm2", "mistral", "functionary_v3_2", "muse")
FORMATS = [name for name, format in registry().items() if format.example and name not in OWN_RULES]
F, G = ("f", {"n": 5}), ("get_it", {})

CALLS = {
    "alone": ('{"name": "f", "arguments": {"n": 5}}', [F]),
    "with a type that is wrong": ('{"name": "f", "arguments": {"n": "5"}}', [F]),
    "arguments first": ('{"parameters": {"n": 5}, "name": "f"}', [F]),
    "arguments in a string": ('{"name": "f", "arguments": "{\\"n\\": 5}"}', [F]),
    "name in another case": ('{"name": "F", "arguments": {"n": 5}}', [F]),
    "list": ('[{"name": "f", "arguments": {"n": 5}}, {"name": "get_it", "arguments": {}}]', [F, G]),
    "in a fence": ('```json\n{"name": "f", "arguments": {"n": 5}}\n```', [F]),
    "in a fence without a language": ('```\n[{"name": "f", "arguments": {"n": 5}}]\n```\n', [F]),
    "in the shape of an API": ('{"type": "function", "function": {"name": "f", "arguments": {"n": 5}}}', [F]),
    "with an id": ('\n{"id": "call_1", "name": "f", "input": {"n": 5}}\n', [F]),
}
TEXTS = {
    "words before": 'Sure: {"name": "f", "arguments": {"n": 5}}',
    "words after": '{"name": "f", "arguments": {"n": 5}} is the call.',
    "words after the fence": '```json\n{"name": "f", "arguments": {"n": 5}}\n```\nThat is it.',
    "a second object": '{"name": "f", "arguments": {"n": 5}}\n{"a": 1}',
    "a tool nobody declared": '{"name": "other", "arguments": {"n": 5}}',
    "one of two nobody declared": '[{"name": "f", "arguments": {}}, {"name": "other", "arguments": {}}]',
    "no arguments": '{"name": "f"}',
    "other members": '{"name": "f", "description": "A function.", "parameters": {"n": 5}}',
    "arguments that are no object": '{"name": "f", "arguments": [5]}',
    "cut short": '{"name": "f", "arguments": {"n": 5',
    "fence not closed": '```json\n{"name": "f", "arguments": {"n": 5}}',
    "another language": '```python\n{"name": "f", "arguments": {"n": 5}}\n```',
    "an empty list": "[]",
    "arguments that are no JSON": '{"name": "f", "arguments": {not json}',
    "arguments that break off in a list": '[{"name": "f", "arguments": {}}, {"name": "f", "arguments": {oops oops}}]',
    "arguments that are no JSON in a fence": '```json\n{"name": "f", "arguments": {,x]}\n```',
}


def _reply(name, pieces, tools=TOOLS, **options):
    numbers = count()
    format = format_named(name)
    return outcome(pieces, format, reasoning_named("think"), tools, new_id=lambda: f"toolu_{next(numbers)}", **options)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("case", CALLS)
def test_nothing_but_calls(name, case):
    """It is these calls, in any format, however it is cut."""
    raw, calls = CALLS[case]
    reply = _reply(name, [raw])
    assert content(reply) == [{"type": "tool_use", "name": called, "input": input} for called, input in calls]
    assert reply.reason == "tool_use"
    assert _reply(name, list(raw)) == _reply(name, cut(raw, [3, 17])) == reply


@pytest.mark.parametrize("case", TEXTS)
def test_anything_else_is_text(case):
    """Not a character of it is lost."""
    for pieces in ([TEXTS[case]], list(TEXTS[case])):
        assert content(_reply("hermes", pieces)) == [{"type": "text", "text": TEXTS[case]}]


@pytest.mark.parametrize("case", CALLS)
def test_without_tools_it_is_text(case):
    """Where no tools are offered, or none may be called, there are no calls."""
    raw = CALLS[case][0]
    assert content(_reply("hermes", list(raw), tools={})) == [{"type": "text", "text": raw}]


def test_thinking_before_it():
    """Thinking is no part of what a reply says."""
    raw = '<think>I call f.</think>\n{"name": "f", "arguments": {"n": 5}}'
    assert [block["type"] for block in content(_reply("hermes", list(raw)))] == ["thinking", "tool_use"]


def test_call_before_it():
    """After a call of the format's own, it is text."""
    raw = '<tool_call>{"name": "f", "arguments": {}}</tool_call>\n{"name": "f", "arguments": {"n": 5}}'
    assert [block["type"] for block in content(_reply("hermes", list(raw)))] == ["tool_use", "text"]


def test_stop_sequence_in_it():
    """What ends at a stop sequence is not a whole reply."""
    raw = '{"name": "f", "arguments": {"n": 5}} END'
    reply = _reply("hermes", list(raw), stop=("END",))
    assert content(reply)[0]["type"] == "text"
    assert reply.reason == "stop_sequence"


@pytest.mark.parametrize(
    ("raw", "waits"),
    [
        ("Hello", 0),
        ("{x: 1}", 2),
        ('{"answer": 1}', 11),
        ('{"name": "other", "arguments": {}}', 16),
        ('```json\n{"answer": 1}', 19),
        ('```python\nprint("x")', 4),
        ("[1, 2]", 2),
        ("[link](x)", 2),
        ('{"' + "a" * 1000 + '": 1}', 305),
    ],
)
def test_text_waits_no_longer_than_it_must(raw, waits):
    """From the character on that no bare call can have, everything streams."""
    signatures = {name: Signature(schema) for name, schema in TOOLS.items()}
    parser = Parser(format_named("hermes"), reasoning_named("think"), signatures, new_id=lambda: "t")
    behind, told = 0, ""
    for index, character in enumerate(raw):
        told += "".join(event.text for event in parser.feed(character) if isinstance(event, TextDelta))
        behind = behind if told else index + 1
    assert behind <= waits


def test_a_tool_that_is_written_as_its_own_namespace():
    """As Muse writes every name: it is that tool."""
    reply = _reply("hermes", ['<tool_call>{"name": "f.f", "arguments": {"n": 5}}</tool_call>'])
    assert content(reply) == [{"type": "tool_use", "name": "f", "input": {"n": 5}}]
