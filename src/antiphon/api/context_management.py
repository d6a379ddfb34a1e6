"""Edits of a conversation that outgrows its window: what a client asks for, and what came of it.

The names are those of the Messages API. `prompt/edits.py` clears, `serving/compaction.py` summarises.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class InputTokens(msgspec.Struct, frozen=True):
    """A trigger: the prompt has more than so many tokens."""

    value: int


class ToolUses(msgspec.Struct, frozen=True):
    """A trigger: the prompt has more than so many tool uses that were not cleared."""

    value: int


class ClearToolUses(msgspec.Struct, frozen=True, kw_only=True):
    """Clear the results of old tool uses when the `trigger` is reached (none: the default one), all but the `keep`
    latest, if that removes `at_least` so many tokens. Tools in `exclude` are left alone; the inputs of the calls go too
    where `inputs` is true or names the tool."""

    trigger: InputTokens | ToolUses | None = None
    keep: int = 3
    at_least: int = 0
    exclude: tuple[str, ...] = ()
    inputs: bool | tuple[str, ...] = False

    def clears_input(self, tool: str) -> bool:
        """Whether the inputs of this tool's calls are cleared too."""
        return self.inputs if isinstance(self.inputs, bool) else tool in self.inputs


class ClearThinking(msgspec.Struct, frozen=True, kw_only=True):
    """Clear the thinking of all but the `keep` latest turns that have any (none: keep all)."""

    keep: int | None = 1


class Compact(msgspec.Struct, frozen=True, kw_only=True):
    """Have the model summarise the conversation when the prompt has reached `trigger` tokens (none: the default).
    `instructions` replace ours; with `pause` the message ends with the summary. One `on_demand` needs no trigger."""

    trigger: int | None = None
    on_demand: bool = False
    instructions: str = ""
    pause: bool = False


Edit = ClearToolUses | ClearThinking | Compact


class AppliedEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What an edit cleared of this prompt: so many tool uses, or turns with thinking, of about so many tokens."""

    kind: Literal["clear_tool_uses", "clear_thinking"]
    count: int
    tokens: int
