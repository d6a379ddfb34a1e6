"""Beam: Harmony's messages, the calls with their parameters in tags."""

from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Literal, Marker, Node, Repeat, Sequence
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.formats.harmony import (
    CHANNEL,
    CONSTRAIN,
    ENDS,
    MAY_THINK,
    MESSAGE,
    PARAMETER,
    START,
    answer,
    read_turn,
    unused,
)
from antiphon.parsing.tagged.grammar import parameters


def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
    """Calls on the analysis channel, analysis before the first if the model wants."""

    def one(name: str, schema: dict[str, Any]) -> Node:
        head = (Literal(f" to={name}"), Marker(CHANNEL), Literal("analysis "), Marker(CONSTRAIN), Literal("xml"))
        written = parameters(schema, lambda key, kind: f'{PARAMETER} name="{key}">\n', "\n</rfl:parameter>")
        return Sequence((*head, Marker(MESSAGE), *written))

    again = Sequence((Marker("<|end|>"), Marker(START), Literal("assistant")))
    calls = Either(tuple(one(name, schema) for name, schema in tools))
    return Sequence((MAY_THINK, Repeat(calls, 1, most, again)))


FORMATS = (
    Format(
        names=("beam",),
        summary="messages on channels, calls addressed to=NAME with <rfl:parameter> tags (Beam)",
        visible=(START, CHANNEL, MESSAGE, CONSTRAIN, *ENDS),
        read=unused,
        read_turn=read_turn,
        grammar=grammar,
        answer=answer,
        recognises=lambda template: CHANNEL in template and PARAMETER in template,
        rank=66,
        reasoning="gpt-oss",
        example=Example(
            f' to=f{CHANNEL}analysis {CONSTRAIN}xml{MESSAGE}{PARAMETER} name="x">\na b\n</rfl:parameter><|call|>',
            (("f", '{"x":"a b"}'),),
        ),
    ),
)
