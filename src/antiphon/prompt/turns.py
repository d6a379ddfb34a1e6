"""Turn repair, in one named place: whatever order a client sent, the turns come out in one that templates take.

Afterwards roles alternate, no turn is of role system, tool results stand together and first in their turn, and
text next to text is one part. Repair is a function of the turns alone and looks only backwards, so a
conversation that grows at its end keeps its beginning.

- Text blocks of one message are joined with nothing between them: a text, the same text as one block and the
  same text cut into two blocks are the same prompt. Two messages that become one turn are parted by an empty line.
- System turns before the first turn join `system`. Later ones keep their place: they are folded, as a reminder,
  into the user turn they follow, or else into the one they precede. Moving them to the top would change the
  beginning of the prompt with every turn; leaving them where they are breaks many templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from antiphon.api.conversation import Conversation, Part, Role, Text, ToolResult, Turn

P = TypeVar("P", bound=Part)

_BETWEEN_MESSAGES = "\n\n"


def reminder(text: str) -> str:
    """A system turn's text as it stands inside a user turn."""
    return f"<system-reminder>\n{text.strip()}\n</system-reminder>"


def repaired(conversation: Conversation) -> Conversation:
    """The conversation with its turns in order. Repairing twice changes nothing."""
    leading: list[str] = [conversation.system] if conversation.system else []
    drafts: list[tuple[Role, list[Part]]] = []
    unthought = 0
    for index, turn in enumerate(conversation.turns):
        if index == conversation.unthought:
            unthought = len(drafts)
        if turn.role == "system":
            text = _text_of(turn)
            if not text:
                continue
            if not drafts:
                leading.append(text)
            else:
                _remind(drafts, text)
        elif drafts and drafts[-1][0] == turn.role:
            _append_message(drafts[-1][1], turn.parts)
        elif turn.parts:
            drafts.append((turn.role, list(turn.parts)))
    turns = tuple(Turn(role=role, parts=_ordered(parts)) for role, parts in drafts)
    system = _BETWEEN_MESSAGES.join(leading)
    return Conversation(
        system=system, turns=turns, tools=conversation.tools, unthought=unthought, sources=conversation.sources
    )


def _text_of(turn: Turn) -> str:
    return "".join(part.text for part in turn.parts if isinstance(part, Text))


def _remind(drafts: list[tuple[Role, list[Part]]], text: str) -> None:
    role, parts = drafts[-1]
    if role == "assistant":
        drafts.append(("user", [Text(reminder(text))]))
        return
    last = parts[-1]
    if isinstance(last, ToolResult):
        # A text part would open a turn of its own in many templates, and the model would answer it.
        parts[-1] = ToolResult(
            tool_use_id=last.tool_use_id,
            parts=_joined([*last.parts, Text(("\n" if last.parts else "") + reminder(text))]),
            is_error=last.is_error,
        )
    else:
        parts.append(Text(_parted(parts, "\n") + reminder(text)))


def _append_message(parts: list[Part], more: tuple[Part, ...]) -> None:
    if more and isinstance(more[0], Text):
        parts.append(Text(_parted(parts, _BETWEEN_MESSAGES) + more[0].text))
        parts.extend(more[1:])
    else:
        parts.extend(more)


def _parted(parts: list[Part], parting: str) -> str:
    """What has to stand between text at the end of the parts, if there is any, and the next text."""
    return parting if parts and isinstance(parts[-1], Text) else ""


def _ordered(parts: list[Part]) -> tuple[Part, ...]:
    results = [part for part in parts if isinstance(part, ToolResult)]
    others = [part for part in parts if not isinstance(part, ToolResult)]
    return (*results, *_joined(others))


def _joined(parts: Sequence[P]) -> tuple[P | Text, ...]:
    joined: list[P | Text] = []
    for part in parts:
        before = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(before, Text):
            joined[-1] = Text(before.text + part.text)
        else:
            joined.append(part)
    return tuple(joined)
