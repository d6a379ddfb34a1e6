"""What a request demands of its output, in the terms of the model's format."""

from __future__ import annotations

import msgspec

from antiphon.api.conversation import Generation, Tool
from antiphon.constraint import Either, Free, Json, Literal, Marker, Node, Pattern, Repeat, Sequence, Until, closed
from antiphon.parsing.formats import Format, Reasoning

MOST_CALLS = 8
"""Parallel calls that a forced turn of a model trained on tools may make. One that was not (its template knows none)
does not know when to stop either, and makes one."""


_THINKING = ("enabled", "adaptive", "between_tools")


class Demand(msgspec.Struct, frozen=True):
    """What must be true of an output: `whole` of all of it, `answer` of what comes after the thinking."""

    whole: Node
    answer: Node


def plan(
    tools: tuple[Tool, ...],
    wanted: Generation,
    format: Format,
    reasoning: Reasoning,
    *,
    starts_thinking: bool,
    trained: bool,
    thinks: bool = False,
) -> Demand | None:
    """What the request demands, or None where the output is free. With thinking, the reasoning runs free and the demand
    begins after it. `trained` says that the model knows tools by itself, `thinks` that it thinks unless told not to."""
    answer = _answer(tools, wanted, format, MOST_CALLS if trained and wanted.tool_choice.parallel else 1)
    if answer is None:
        return None
    whole = answer
    if format.answer and isinstance(answer, Json):
        whole = format.answer(answer)
    elif reasoning.closes:
        think = Sequence((Until(reasoning.closes[0]), Pattern(r"\n{0,2}")))
        if starts_thinking:
            whole = Sequence((think, answer))
        elif wanted.thinking.mode in _THINKING or (thinks and wanted.thinking.mode == "default"):
            opened = Sequence((Marker(reasoning.opens[0]), think)) if reasoning.opens else think
            whole = Sequence((Either((opened, Literal(""))), answer))
    return Demand(whole, answer)


def _answer(tools: tuple[Tool, ...], wanted: Generation, format: Format, most: int) -> Node | None:
    choice = wanted.tool_choice
    named = [(tool.name, tool.schema) for tool in tools if choice.mode != "tool" or tool.name == choice.name]
    if choice.mode == "none" and tools and format.openers and wanted.output_schema is None:
        # The tools stay in the prompt, which keeps its prefix; the model is only kept from opening a call.
        return Free(format.openers)
    if choice.mode in ("any", "tool"):
        return format.grammar(named, most) if named and format.grammar else None
    if wanted.output_schema is not None:
        answer = Json(closed(wanted.output_schema))
        offered = format.grammar(named, most) if named and format.grammar and choice.mode == "auto" else None
        return answer if offered is None else Either((offered, format.answer(answer) if format.answer else answer))
    if choice.mode == "auto" and any(tool.strict for tool in tools) and format.grammar and format.openers:
        # The model may say what it likes; a call, once begun, must be right. Tools that are not strict may be given
        # any object.
        loose = [(tool.name, tool.schema if tool.strict else {"type": "object"}) for tool in tools]
        free = Free(format.openers)
        return Sequence((free, Repeat(Sequence((format.grammar(loose, 1), free)), 0, most)))
    return None
