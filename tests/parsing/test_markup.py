"""Any mixture of a format's own markup gives a legal reply, the same however it is cut."""

from __future__ import annotations

import random
import re
from itertools import count

import pytest

from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, ToolBlock, parsed_input
from antiphon.parsing.formats import Format, reasoning_named, registry
from antiphon.parsing.outcome import outcome
from tests.outputs import cut

TOOLS = {
    "f": {"type": "object", "properties": {"x": {"type": "string"}, "n": {"type": "integer"}}},
    "g": {"type": "object", "properties": {"o": {"type": "object"}, "z": {"type": ["string", "null"]}}},
}
WORDS = [
    "f",
    "g",
    "x",
    "n",
    "o",
    "z",
    "1",
    "null",
    '{"a": ',
    "[1, ",
    "}",
    '"',
    "\n",
    " ",
    "a b",
    "<",
    ">",
    "</",
    "|",
    "é",
]
FORMATS = [name for name, format in registry().items() if format.example]


def _pieces(format: Format) -> list[str]:
    assert format.example is not None
    raw = format.example.raw
    tags = re.findall(r"<[^<>]*>|\[[^\[\]]*\]|[^<>\[\]]+", raw)
    return [raw, raw[: len(raw) // 2], *_spaced(raw), *tags, *format.openers, *format.visible, "<think>", "</think>"]


def _spaced(raw: str) -> list[str]:
    """The output with white space after what its tags begin with."""
    return [re.sub(r"<\|(open|close)\|>|</|<(?=\w)", rf"\g<0>{space}", raw) for space in (" ", "\t")]


def _reply(format: Format, pieces: list[str]) -> Reply:
    numbers = count()
    return outcome(pieces, format, reasoning_named(format.reasoning), TOOLS, new_id=lambda: f"toolu_{next(numbers)}")


@pytest.mark.parametrize("name", FORMATS)
def test_any_mixture_of_markers_reads_the_same_when_cut(name):
    """Markers and words in any order give the same reply however they are cut, and every part of it is whole."""
    format = registry()[name]
    source = random.Random(name)
    pieces = _pieces(format)
    for _ in range(300):
        drawn = source.choices(pieces, k=source.randint(1, 8)) + source.choices(WORDS, k=source.randint(0, 6))
        source.shuffle(drawn)
        raw = "".join(drawn)
        whole = _reply(format, [raw])
        assert _reply(format, list(raw)) == whole, raw
        places = source.sample(range(len(raw) + 1), min(len(raw), 5))
        assert _reply(format, cut(raw, places)) == whole, raw
        for block in whole.blocks:
            if isinstance(block, TextBlock | ThinkingBlock):
                assert block.text
            else:
                parsed_input(block)


@pytest.mark.parametrize("size", range(1, len("</tool_call>")))
def test_a_closing_marker_that_the_limit_cut_is_no_text(size):
    """However much of it came: the call is whole, and nothing else is said."""
    whole = '<tool_call>\n{"name": "f", "arguments": {"x": "a"}}\n'
    reply = _reply(registry()["hermes"], [whole, "</tool_call>"[:size]])
    assert [type(block) for block in reply.blocks] == [ToolBlock]
