"""MiniMax M1: JSON objects, one a line, in `<tool_calls>` tags."""

from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Literal, Marker, Node, Repeat, Sequence
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block, call_grammar

OPEN, CLOSE = "<tool_calls>", "</tool_calls>"


def _grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
    body = Either(tuple(call_grammar(name, schema) for name, schema in tools))
    return Sequence((Marker(OPEN), Literal("\n"), Repeat(body, 1, most, Literal("\n")), Literal("\n"), Marker(CLOSE)))


FORMATS = (
    Format(
        names=("minimax_m1", "minimax"),
        summary="JSON objects, one a line, in <tool_calls> tags (MiniMax M1)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=block(CLOSE),
        recognises=lambda template: OPEN in template and "<beginning_of_sentence>" in template,
        rank=40,
        grammar=_grammar,
        example=Example('<tool_calls>\n{"name": "f", "arguments": {"x":1}}\n</tool_calls>', (("f", '{"x":1}'),)),
    ),
)
