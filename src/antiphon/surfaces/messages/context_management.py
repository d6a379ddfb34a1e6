"""`context_management` on the wire: the edits that a request asks for, and what is told of those that were applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.api import context_management as nouns
from antiphon.api.errors import BadRequest

Positive = Annotated[int, Meta(ge=1, le=2**53)]
Natural = Annotated[int, Meta(ge=0, le=2**53)]


class InputTokens(msgspec.Struct, tag="input_tokens"):
    """So many tokens of the prompt."""

    value: Positive


class ToolUses(msgspec.Struct, tag="tool_uses"):
    """So many tool uses."""

    value: Positive


class AtLeast(msgspec.Struct, tag="input_tokens"):
    """At least so many tokens, or nothing."""

    value: Natural


class KeepUses(msgspec.Struct, tag="tool_uses"):
    """The latest tool uses."""

    value: Natural


class KeepTurns(msgspec.Struct, tag="thinking_turns"):
    """The latest turns that have thinking."""

    value: Positive


class KeepAll(msgspec.Struct, tag="all"):
    """Everything."""


class ClearToolUses(msgspec.Struct, tag="clear_tool_uses_20250919"):
    """Clears the results of old tool uses."""

    trigger: InputTokens | ToolUses | None = None
    keep: KeepUses | None = None
    clear_at_least: AtLeast | None = None
    exclude_tools: list[str] | None = None
    clear_tool_inputs: bool | list[str] | None = None

    def noun(self) -> nouns.ClearToolUses:
        """The edit."""
        inputs = self.clear_tool_inputs
        return nouns.ClearToolUses(
            trigger=_trigger(self.trigger),
            keep=self.keep.value if self.keep else nouns.ClearToolUses().keep,
            at_least=self.clear_at_least.value if self.clear_at_least else 0,
            exclude=tuple(self.exclude_tools or ()),
            inputs=tuple(inputs) if isinstance(inputs, list) else bool(inputs),
        )


class ClearThinking(msgspec.Struct, tag="clear_thinking_20251015"):
    """Clears old thinking."""

    keep: KeepTurns | KeepAll | Literal["all"] | None = None

    def noun(self) -> nouns.ClearThinking:
        """The edit."""
        if self.keep is None:
            return nouns.ClearThinking()
        return nouns.ClearThinking(keep=self.keep.value if isinstance(self.keep, KeepTurns) else None)


class Compact(msgspec.Struct, tag="compact_20260112"):
    """Has the model summarise the conversation so far."""

    trigger: InputTokens | None = None
    instructions: str | None = None
    pause_after_compaction: bool | None = None

    def noun(self) -> nouns.Compact:
        """The edit."""
        return nouns.Compact(
            trigger=self.trigger.value if self.trigger else None,
            instructions=self.instructions or "",
            pause=bool(self.pause_after_compaction),
        )


Edit = ClearToolUses | ClearThinking | Compact


class ContextManagement(msgspec.Struct):
    """`context_management`."""

    edits: list[Edit] | None = None


class Compaction(msgspec.Struct, tag="summarize"):
    """`compaction`: have the whole conversation summarised, and nothing else."""

    instructions: str | None = None


def read(asked: ContextManagement) -> tuple[nouns.Edit, ...]:
    """The edits of a request. Raises BadRequest where they contradict one another."""
    edits = asked.edits or []
    seen: set[type] = set()
    for index, edit in enumerate(edits):
        if type(edit) in seen:
            raise BadRequest(f"context_management.edits.{index}: each type of edit can be given only once")
        if isinstance(edit, ClearThinking) and index > 0:
            raise BadRequest(f"context_management.edits.{index}: `clear_thinking_20251015` must be the first edit")
        seen.add(type(edit))
    return tuple(edit.noun() for edit in edits)


def _trigger(trigger: InputTokens | ToolUses | None) -> nouns.InputTokens | nouns.ToolUses | None:
    match trigger:
        case None:
            return None
        case InputTokens(value):
            return nouns.InputTokens(value)
        case ToolUses(value):
            return nouns.ToolUses(value)


class ClearedToolUses(msgspec.Struct, tag="clear_tool_uses_20250919"):
    """Tool uses were cleared."""

    cleared_tool_uses: int
    cleared_input_tokens: int


class ClearedThinking(msgspec.Struct, tag="clear_thinking_20251015"):
    """Thinking was cleared."""

    cleared_thinking_turns: int
    cleared_input_tokens: int


class Applied(msgspec.Struct):
    """The answer to `context_management`: what was cleared of the prompt."""

    applied_edits: list[ClearedToolUses | ClearedThinking] = []


def applied(edits: Iterable[nouns.AppliedEdit]) -> Applied:
    """What is told of the edits."""
    kinds: dict[str, Any] = {"clear_tool_uses": ClearedToolUses, "clear_thinking": ClearedThinking}
    return Applied([kinds[edit.kind](edit.count, edit.tokens) for edit in edits])
