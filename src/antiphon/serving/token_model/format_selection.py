"""How a model writes calls and thinking: what the operator chose, or what its chat template tells."""

from __future__ import annotations

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.parsing.formats import (
    Format,
    Reasoning,
    format_named,
    reasoning_named,
    recognise_format,
    recognise_reasoning,
)
from antiphon.prompt.templates.template import Template
from antiphon.serving.model import Choices


class FormatSelection(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's output is read by. It `thinks` if it is known to; `explanation` says why these were chosen."""

    format: Format
    reasoning: Reasoning
    thinks: bool
    explanation: str

    @property
    def markers(self) -> set[str]:
        """All markers that the two know."""
        format, reasoning = self.format, self.reasoning
        return {*format.openers, *format.visible, *reasoning.opens, *reasoning.closes, *reasoning.dropped}


def select_formats(template: Template, choices: Choices) -> FormatSelection:
    """By the operator's choices, or by the template where these leave it open. Raises ValueError for an unknown
    name."""
    format, format_reason = chosen_format(template, choices.tool_call_parser)
    reasoning, reasoning_reason, thinks = chosen_reasoning(template, format, choices.reasoning_parser)
    explanation = f"{format.name} for tools ({format_reason}), {reasoning.name} for thinking ({reasoning_reason})"
    return FormatSelection(format=format, reasoning=reasoning, thinks=thinks, explanation=explanation)


def chosen_format(template: Template, chosen: str) -> tuple[Format, str]:
    """The format of calls, and why that one. Raises ValueError for an unknown name."""
    if chosen not in ("", "auto"):
        return format_named(chosen), "chosen"
    if not (template.takes_tools and template.takes_calls):
        return format_named("hermes"), "the chat template has no tools, so they go into the system prompt"
    found = recognise_format(template.source)
    if found is not None:
        return found, "recognised in the chat template"
    return format_named("hermes"), "the chat template takes tools but no known format was recognised in it"


def chosen_reasoning(template: Template, format: Format, chosen: str) -> tuple[Reasoning, str, bool]:
    """The marking of thinking, why that one, and whether the model is known to think. Raises ValueError for an unknown
    name."""
    if chosen not in ("", "auto"):
        named = reasoning_named(chosen)
        return named, "chosen", named.name != "none"
    found = recognise_reasoning(template.source)
    if found is not None:
        return found, "recognised in the chat template", True
    try:
        tail = template.render([{"role": "user", "content": "probe"}])
    except BadRequest:
        tail = ""
    default = reasoning_named(format.reasoning)
    opened = default.opened_by(tail)
    return default, "the prompt opens it" if opened else "in case the model thinks by itself", opened
