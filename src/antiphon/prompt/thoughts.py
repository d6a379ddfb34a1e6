"""Which of a conversation's thoughts a chat template shows when they are history."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.conversation import Conversation, Part, Text, Thinking, ThinkingPolicy, ToolResult, ToolUse, Turn
from antiphon.errors import BadRequest
from antiphon.prompt.render import Renderer

_NEEDLE = "probe needle"


class Thoughts:
    """Found out by probes: some templates show all thoughts, some those since the last question, some none."""

    def __init__(self, renderer: Renderer) -> None:
        thought, call = Thinking(_NEEDLE), ToolUse(id="toolu_probe", name="probe", input='{"value": "v"}')
        answer = ToolResult(tool_use_id="toolu_probe", parts=(Text("answer"),))
        self.past = _shown(renderer, (thought, Text("say")), Text("ask"))
        self.loop = _shown(renderer, (thought, call), answer)

    def shown(self, turns: Sequence[Turn], index: int) -> bool:
        """Whether the template shows the thoughts of the turn at `index` in this conversation."""
        return self.past or (self.loop and not any(map(_asks, turns[index + 1 :])))


def _asks(turn: Turn) -> bool:
    return turn.role == "user" and any(not isinstance(part, ToolResult) for part in turn.parts)


def _shown(renderer: Renderer, said: tuple[Part, ...], then: Part) -> bool:
    turns = (
        Turn(role="user", parts=(Text("ask"),)),
        Turn(role="assistant", parts=said),
        Turn(role="user", parts=(then,)),
    )
    try:
        return _NEEDLE in renderer.prompt(Conversation(turns=turns), ThinkingPolicy())
    except BadRequest:
        return False
