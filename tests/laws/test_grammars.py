"""Grammar law: whatever a format's grammar lets through, the format's parser reads as calls that match their schemas.

Outputs are drawn at random from the grammar itself, byte by byte, by llguidance with a vocabulary of bytes.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import count
from typing import Any

import jsonschema_rs
import llguidance
import pytest

from antiphon.constraint import Node, lark
from antiphon.events import ToolBlock, parsed_input
from antiphon.parsing.formats import reasonings, registry
from antiphon.parsing.outcome import outcome

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {}},
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "ratio": {"type": ["number", "null"]},
            "flag": {"type": "boolean"},
            "unit": {"enum": ["c", "ü f"]},
        },
        "required": ["text", "count", "unit"],
    },
    {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
            },
            "deep": {"type": "object", "properties": {"a b": {"type": ["string", "null"]}}, "required": ["a b"]},
            "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        },
        "required": ["items", "deep"],
    },
]
TOOLS = [(f"tool_{index}", schema) for index, schema in enumerate(SCHEMAS)]
BYTES = llguidance.LLTokenizer("byte")
# Bytes that end things, so that most draws come to an end, and some that test the format's own markup.
LIKELY = frozenset(b'"}])>,:0123456789 abc<>/\n|')
FORMATS = [name for name, format in registry().items() if format.grammar]


@cache
def grammar(name: str, most: int) -> str:
    make = registry()[name].grammar
    assert make is not None
    return _compilable(make(TOOLS, most))


def _compilable(node: Node) -> str:
    lowered = lark.lower(node, lambda marker: None)
    assert lark.problem(lowered) == ""
    return llguidance.grammar_from("lark", lowered.removeprefix("%llguidance {}"))


def draw(compiled: str, source: random.Random, longest: int = 1500) -> str | None:
    """One output that the grammar lets through, or None when it grew too long."""
    matcher = llguidance.LLMatcher(BYTES, compiled)
    drawn = bytearray()
    while len(drawn) < longest:
        mask = matcher.compute_bitmask()
        allowed = [token for token in range(257) if mask[token >> 3] >> (token & 7) & 1 and token < 256]
        ended = mask[BYTES.eos_token >> 3] >> (BYTES.eos_token & 7) & 1
        if not allowed or (ended and source.random() < 0.5):
            return drawn.decode()
        likely = [token for token in allowed if token in LIKELY]
        token = source.choice(likely if likely and source.random() < 0.95 else allowed)
        matcher.consume_token(token)
        drawn.append(token)
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_grammar(name: str) -> None:
    """Every output of the grammar is one or more whole calls to declared tools with valid input, and nothing else."""
    format = registry()[name]
    reasoning = reasonings()[format.reasoning]
    drawn = 0
    for seed in range(40):
        source = random.Random(f"{name}{seed}")
        most = 1 + seed % 3
        raw = draw(grammar(name, most), source)
        if raw is None:
            continue
        drawn += 1
        numbers = count()
        read = outcome([raw], format, reasoning, dict(TOOLS), new_id=lambda numbers=numbers: f"toolu_{next(numbers)}")
        assert read.reason == "tool_use", raw
        assert 1 <= len(read.blocks) <= most, raw
        for block in read.blocks:
            assert isinstance(block, ToolBlock), raw
            assert block.complete, raw
            jsonschema_rs.validate(dict(TOOLS)[block.name], parsed_input(block))
    assert drawn >= 5


def test_every_format_can_be_forced() -> None:
    """Every format that knows calls has a grammar, so that a forced call is a promise with any model."""
    assert [name for name, format in registry().items() if not format.grammar] == ["plain"]
