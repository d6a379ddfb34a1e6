"""Conversations whose beginning was summarised."""

from __future__ import annotations

import msgspec

from antiphon.api.context_management import ClearToolUses, InputTokens
from antiphon.api.conversation import Conversation, Text, Turn
from antiphon.prompt.edits import Sizes, edited
from antiphon.prompt.templates.render import introduced


def summary_text(summary: str) -> str:
    """The text of the user turn that stands in place of what was summarised."""
    return (
        f"<summary>\n{summary.strip()}\n</summary>\n\nThis is what happened in the conversation so far. Go on from it."
    )


def continued(conversation: Conversation, summary: str) -> Conversation:
    """The conversation with a summary in place of its turns. Tools that came up in these are told of again."""
    turns = [Turn(role="user", parts=(Text(summary_text(summary)),))]
    brought = [introduced(tool) for tool in conversation.tools if tool.in_turns and not tool.withdrawn]
    if brought:
        turns.append(Turn(role="system", parts=(Text("\n".join(brought)),)))
    return msgspec.structs.replace(conversation, turns=tuple(turns), unthought=0, sources=())


def shortened(conversation: Conversation, sizes: Sizes, most: int) -> Conversation:
    """The repaired conversation within so many tokens, about: without old tool results, and then without what comes
    after its first turn."""
    for keep in (3, 1, 0):
        if sizes.whole(conversation) <= most:
            break
        clear = ClearToolUses(trigger=InputTokens(most), keep=keep)
        conversation = edited(conversation, None, clear, sizes).conversation
    while len(conversation.turns) > 3 and sizes.whole(conversation) > most:
        # An answer and the turn before the next, so that roles alternate and results have their calls.
        turns = (conversation.turns[0], *conversation.turns[3:])
        conversation = msgspec.structs.replace(conversation, turns=turns)
    return conversation
