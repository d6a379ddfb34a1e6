"""Nouns in: what a client asked for, in words that belong to no API and to no model.

Surfaces decode their wire format into these; the prompt room renders them. They are immutable values:
no ids are invented, nothing is looked up, nothing is read from outside. Text that came from a client is
kept character for character, JSON that came from a client token by token.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from antiphon.api.citations import Source
from antiphon.api.context_management import Edit
from antiphon.api.tokens import TokenReport

Role = Literal["user", "assistant", "system"]


_WARM = 0.7


class Noun(msgspec.Struct, frozen=True):
    """Base of the values in this file: frozen, compared by content."""


class Text(Noun, frozen=True, tag=True):
    """Plain text."""

    text: str


class Thinking(Noun, frozen=True, tag=True):
    """What the model thought in an earlier turn, already unsealed."""

    text: str


class Image(Noun, frozen=True, tag=True):
    """A picture: its bytes and its media type (`image/png`, …)."""

    media_type: str
    data: bytes


class ToolUse(Noun, frozen=True, kw_only=True, tag=True):
    """A call the model made in an earlier turn. `input` is a JSON object's text, as the client sent it."""

    id: str
    name: str
    input: str


class ToolResult(Noun, frozen=True, kw_only=True, tag=True):
    """What a tool answered. Images of a result are part of it here; templates that cannot show them
    inside a result get them right after it."""

    tool_use_id: str
    parts: tuple[Text | Image, ...] = ()
    is_error: bool = False


Part = Text | Thinking | Image | ToolUse | ToolResult


class Turn(Noun, frozen=True, kw_only=True):
    """One turn of the conversation. Neighbouring turns never have the same role."""

    role: Role
    parts: tuple[Part, ...]


class Tool(Noun, frozen=True, kw_only=True):
    """A function the model may call. `schema` is the JSON Schema of its input, as parsed (key order kept).

    `strict` asks that calls match the schema whatever the model would like to write; false lets the model go, none
    leaves it to the server. A prompt only ever grows at its
    end: a tool that came up on the way is told of `in_turns`, by the text of one of them, and not where the prompt
    begins; one that was `withdrawn` can no longer be called, though what the prompt says of it stays."""

    name: str
    schema: dict[str, Any]
    description: str = ""
    strict: bool | None = None
    in_turns: bool = False
    withdrawn: bool = False


class ToolChoice(Noun, frozen=True, kw_only=True):
    """Whether the model must call a tool: `auto` may, `any` must, `tool` must call `name`, `none` must not.

    `parallel` false allows one call a turn at most."""

    mode: Literal["auto", "any", "tool", "none"] = "auto"
    name: str | None = None
    parallel: bool = True


class ThinkingPolicy(Noun, frozen=True, kw_only=True):
    """How much the model may think: `mode` as the client asked (`default` when it said nothing),
    `budget` in tokens or none, `effort` in the API's words."""

    mode: Literal["default", "enabled", "disabled", "adaptive", "between_tools"] = "default"
    budget: int | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


class Sampling(Noun, frozen=True, kw_only=True):
    """How tokens are drawn. `None` leaves the model's own default in force."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    def otherwise(self) -> Sampling:
        """The same for a further attempt, which a low temperature or the same seed would not change."""
        warm = None if self.temperature is None else max(self.temperature, _WARM)
        return msgspec.structs.replace(self, temperature=warm, seed=None if self.seed is None else self.seed + 1)


class GenerationParams(Noun, frozen=True, kw_only=True):
    """What is wanted of the reply, apart from the conversation that it answers.

    `max_tokens` bounds the reply in tokens (none: up to the window). `output_schema` is a JSON Schema that
    the text of the reply must match. `cached_turns` is where the client's last cache mark stands: at the end of so many
    leading turns, as they were sent (0: after tools and system prompt; none: there is no mark). With a `report`, the
    reply's tokens are told beside what they say. The text of a `raw` reply is all of it: neither thinking nor calls are
    looked for. `edits` keep the prompt within its bounds (none: the client said nothing of them)."""

    max_tokens: int | None = None
    sampling: Sampling = Sampling()
    stop_sequences: tuple[str, ...] = ()
    tool_choice: ToolChoice = ToolChoice()
    thinking: ThinkingPolicy = ThinkingPolicy()
    output_schema: dict[str, Any] | None = None
    cached_turns: int | None = None
    report: TokenReport | None = None
    raw: bool = False
    edits: tuple[Edit, ...] | None = None


class Conversation(Noun, frozen=True, kw_only=True):
    """Everything the model is to see. `system` is the text before the first turn; turns of role `system`
    may follow in their places. A last turn of the assistant is a prefill, to be continued. Where `ids` are given, they
    are the prompt, whatever else there is; the tools only tell what calls may be in the reply. The thinking of so many
    leading turns was cleared (`unthought`), so that none of it may be put back. `sources` are what the texts of the
    turns show to be cited."""

    system: str = ""
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    ids: tuple[int, ...] = ()
    unthought: int = 0
    sources: tuple[Source, ...] = ()

    @property
    def size(self) -> int:
        """How much there is to be read: the characters of its texts and the bytes of its pictures, about."""
        parts = sum(_size(part) for turn in self.turns for part in turn.parts)
        return len(self.system) + parts + sum(len(tool.description) for tool in self.tools)

    @property
    def first_tools(self) -> tuple[Tool, ...]:
        """The tools that the prompt begins with."""
        return tuple(tool for tool in self.tools if not tool.in_turns)

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """The tools that the model may call now."""
        return tuple(tool for tool in self.tools if not tool.withdrawn)

    @property
    def prefill(self) -> bool:
        """Whether the reply continues the last turn instead of opening one."""
        return bool(self.turns) and self.turns[-1].role == "assistant"


def _size(part: Part) -> int:
    match part:
        case Text(text) | Thinking(text):
            return len(text)
        case Image(_, data):
            return len(data)
        case ToolUse():
            return len(part.input)
        case ToolResult():
            return sum(map(_size, part.parts))


def callable_tools(conversation: Conversation, params: GenerationParams) -> tuple[Tool, ...]:
    """The tools that the reply may call."""
    return () if params.tool_choice.mode == "none" else conversation.callable_tools
