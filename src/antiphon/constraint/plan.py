"""What a request demands of its output, in the terms of the model's format."""

from __future__ import annotations

from antiphon.constraint import Either, Json, Literal, Node, Pattern, Sequence, Until, closed
from antiphon.conversation import Generation, Tool
from antiphon.parsing.formats import Format, Reasoning

MOST_CALLS = 8
"""Parallel calls that a forced turn of a model trained on tools may make. One that was not (its template knows none)
does not know when to stop either, and makes one."""


def plan(
    tools: tuple[Tool, ...],
    wanted: Generation,
    format: Format,
    reasoning: Reasoning,
    *,
    starts_thinking: bool,
    trained: bool,
) -> Node | None:
    """The node that the whole output must match, or None where it is free. With thinking, the reasoning runs free and
    the demand begins after it. `trained` says that the model knows tools by itself."""
    demand = _demand(tools, wanted, format, MOST_CALLS if trained and wanted.tool_choice.parallel else 1)
    if demand is None or not reasoning.closes:
        return demand
    think = Sequence((Until(reasoning.closes[0]), Pattern(r"\n{0,2}")))
    if starts_thinking:
        return Sequence((think, demand))
    if wanted.thinking.mode in ("enabled", "adaptive", "between_tools"):
        return Sequence((Either((Sequence((Literal(reasoning.opens[0]), think)), Literal(""))), demand))
    return demand


def _demand(tools: tuple[Tool, ...], wanted: Generation, format: Format, most: int) -> Node | None:
    choice = wanted.tool_choice
    named = [(tool.name, tool.schema) for tool in tools if choice.mode != "tool" or tool.name == choice.name]
    calls = format.grammar(named, most) if named and format.grammar else None
    if choice.mode in ("any", "tool"):
        return calls
    if wanted.output_schema is None:
        return None
    answer = Json(closed(wanted.output_schema))
    return Either((calls, answer)) if calls is not None and choice.mode == "auto" else answer
