"""`truncation: auto`: a conversation that is too long loses its beginning."""

from __future__ import annotations

from itertools import takewhile

from msgspec.structs import replace

from antiphon.api.conversation import Conversation, ToolResult, Turn
from antiphon.api.errors import PromptTooLong


def shortened(conversation: Conversation, failure: PromptTooLong) -> Conversation | None:
    """The conversation without its oldest questions and what was answered to them, by about as much as it is too long;
    None where only the last question is left. What the model is told before the first question stays."""
    turns, head = conversation.turns, instructions(conversation)
    first = len(head)
    questions = [index for index in range(first + 1, len(turns)) if _asks(turns[index])]
    if not questions:
        return None
    surplus = conversation.size * (failure.tokens - failure.maximum) / failure.tokens
    for index in questions:
        if replace(conversation, system="", tools=(), turns=turns[first:index]).size >= surplus:
            break
    return replace(conversation, turns=(*head, *turns[index:]))


def instructions(conversation: Conversation) -> tuple[Turn, ...]:
    """What the model is told before the first question."""
    return tuple(takewhile(lambda turn: turn.role == "system", conversation.turns))


def _asks(turn: Turn) -> bool:
    return turn.role == "user" and not any(isinstance(part, ToolResult) for part in turn.parts)
