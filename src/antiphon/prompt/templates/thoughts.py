"""Which of a conversation's thoughts a chat template shows when they are history."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.conversation import Conversation, Part, Text, Thinking, ThinkingPolicy, ToolResult, ToolUse, Turn
from antiphon.api.errors import BadRequest
from antiphon.prompt.templates.render import Renderer

_NEEDLE = "probe needle"


class Thoughts:
    """Found out by probes: some templates show all thoughts, some those since the last question, some none."""

    def __init__(self, renderer: Renderer) -> None:
        thought, call = Thinking(_NEEDLE), ToolUse(id="toolu_probe", name="probe", input='{"value": "v"}')
        answer = ToolResult(tool_use_id="toolu_probe", parts=(Text("answer"),))
        self.past = _shown(renderer, (thought, Text("say")), Text("ask"))
        self.loop = _shown(renderer, (thought, call), answer)

    def shown(self, turns: Sequence[Turn]) -> range:
        """The turns of this conversation whose thoughts the template shows: those from some place on."""
        if self.past or not self.loop:
            return range(0 if self.past else len(turns), len(turns))
        return range(max((index for index, turn in enumerate(turns) if _asks(turn)), default=0), len(turns))


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
