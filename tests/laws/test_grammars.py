"""Laws over every format's grammar: it compiles for any schema, and whatever it allows, the format's reader reads."""

from __future__ import annotations

import random
from itertools import count

import llguidance
import msgspec
import pytest

from antiphon.api.events import TextBlock, ThinkingBlock, parsed_input
from antiphon.constraint import Node, Until, lark
from antiphon.parsing.formats import reasoning_named, registry
from antiphon.parsing.outcome import outcome

GRAMMARS = [name for name, format in registry().items() if format.grammar]
POINT = {"type": "object", "properties": {"q": {"type": "number"}}}
SCHEMAS = {
    "empty": {"type": "object"},
    "nothing": {"type": "object", "properties": {}},
    "required": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["a"],
    },
    "optional": {"type": "object", "properties": {"a": {"type": "string"}, "c": {"enum": ["x", "y"]}}},
    "references": {
        "type": "object",
        "$defs": {"point": POINT},
        "properties": {
            "p": {"$ref": "#/$defs/point"},
            "l": {"type": "array", "items": {"$ref": "#/$defs/point"}},
            "n": {"type": ["string", "null"]},
        },
        "required": ["p", "l"],
    },
}
CHOICES = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["a b", "<c>"]},
        "flag": {"type": "boolean"},
        "level": {"type": "integer", "enum": [1, 20]},
    },
    "required": ["kind"],
}
SAMPLES = 12


@pytest.mark.parametrize("name", GRAMMARS)
def test_compiles(name):
    """A grammar compiles for every shape of schema, one call or several, with control tokens or without."""
    grammar = registry()[name].grammar
    for schema in SCHEMAS.values():
        for tools in ([("f", schema)], [("f", schema), ("get-it_2", schema)]):
            for most, token_id in ((1, lambda text: None), (3, lambda text: 7 if len(text) > 1 else None)):
                assert lark.problem(lark.lower(grammar(tools, most), token_id)) == ""


def _ends(node: Node) -> list[str]:
    """The markers that free text in the grammar runs to."""
    if isinstance(node, Until):
        return [node.marker]
    inner = [getattr(node, "node", None), *getattr(node, "nodes", ())]
    return [end for each in inner if each is not None for end in _ends(each)]


def _sampled(grammar: str, ends: list[str], source: random.Random) -> str:
    """A text that the grammar allows, drawn byte by byte. Free text is ended at once."""
    tokenizer = llguidance.LLTokenizer("byte")
    matcher = llguidance.LLMatcher(tokenizer, llguidance.grammar_from("lark", grammar.removeprefix("%llguidance {}")))
    written = bytearray()
    while not matcher.is_stopped() and len(written) < 5000:
        mask = matcher.compute_bitmask()
        allowed = [id for id in range(256) if mask[id // 8] >> (id % 8) & 1]
        if matcher.is_accepting() and (not allowed or source.random() < 0.3):
            return written.decode()
        drawn = source.choice(ends).encode() if len(allowed) > 64 else bytes([source.choice(allowed)])
        assert matcher.consume_tokens(list(drawn)), matcher.get_error()
        written += drawn
    return written.decode()


@pytest.mark.parametrize("name", GRAMMARS)
def test_reader_reads_what_the_grammar_allows(name):
    """An output drawn from the grammar is calls and nothing else, each with an input that the schema allows."""
    format = registry()[name]
    schema = msgspec.json.decode(msgspec.json.encode(CHOICES))
    tools = {"f": schema, "get-it_2": schema}
    node = format.grammar(list(tools.items()), 3)
    grammar = lark.lower(node, lambda text: None)
    source = random.Random(name)
    for _ in range(SAMPLES):
        raw = _sampled(grammar, _ends(node), source)
        numbers = count()
        reply = outcome(
            [raw], format, reasoning_named("none"), tools, new_id=lambda numbers=numbers: str(next(numbers))
        )
        assert reply.blocks, raw
        assert reply.reason == "tool_use", raw
        for block in reply.blocks:
            if isinstance(block, ThinkingBlock):
                continue
            assert not isinstance(block, TextBlock), raw
            assert block.name in tools, raw
            given = parsed_input(block)
            assert given.keys() <= CHOICES["properties"].keys(), raw
            assert given["kind"] in ("a b", "<c>"), raw
            assert given.get("flag", True) in (True, False), raw
            assert given.get("level", 1) in (1, 20), raw
