"""Nouns out: what the model is doing, as it does it. (`reply.py` folds the stream of events to a whole reply.)

The parser yields events in the order the model wrote. Text and thinking need no start or end: a change of
kind is the boundary. A tool call has a start (its name is known), fragments of its input (their
concatenation is one JSON object) and an end. Exactly one `Finished` closes a stream that went well.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from antiphon.api.citations import Citation
from antiphon.api.context_management import AppliedEdit
from antiphon.api.tokens import Token

StopReason = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "compaction",
    "model_context_window_exceeded",
    "refusal",
]


# One for all events: a default that can be changed is made anew for each.
_NOTHING_SPELLED: Mapping[int, bytes] = MappingProxyType({})


class Event(msgspec.Struct, frozen=True, gc=False):
    """Base of the events. There is one for each token at least, and none refers back to what refers to it: the garbage
    collector need not look at them, nor at tokens and pieces."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, by the engine's own figures. `prompt` counts the whole prompt; `cached` of these were re-used
    from an earlier computation, `created` were computed and stand before the client's last cache mark. `output` counts
    everything sampled, `thinking` the part of it spent thinking. A reply with server tools is made in several `rounds`,
    and these are their sums; `server_tools` are the calls of such tools, by what they are counted as. What the summary
    took that a reply begins with is in none of these but in `compaction`."""

    prompt: int
    cached: int = 0
    created: int = 0
    output: int = 0
    thinking: int = 0
    server_tools: Mapping[str, int] = {}
    rounds: tuple[Usage, ...] = ()
    compaction: Usage | None = None


class PromptProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the engine is with a prompt, in tokens. `read` of the whole `prompt` are done with; `cached` of these
    need not be computed, of which `restored` came from disk. It is no event: nothing of the reply has come yet."""

    prompt: int
    cached: int = 0
    restored: int = 0
    read: int = 0


ReportProgress = Callable[[PromptProgress], None]
"""Is told whenever the engine is further with the prompt; never waits."""


class Started(Event, frozen=True):
    """The engine has taken the request up; `usage` has the prompt's figures."""

    usage: Usage


class TokensSampled(Event, frozen=True):
    """The tokens of what is told next, where they were asked for; what the parser holds back is told later than its
    tokens. `spelled` are the bytes that ids stand for, where these were asked for."""

    tokens: Sequence[Token]
    spelled: Mapping[int, bytes] = _NOTHING_SPELLED


class TextDelta(Event, frozen=True):
    """More of the visible answer."""

    text: str


class Cited(Event, frozen=True):
    """What is cited for the text that follows, up to the next of these or to something that is no text: perhaps
    nothing. The text before it is a block of its own."""

    citations: tuple[Citation, ...]


class ThinkingDelta(Event, frozen=True):
    """More of the model's thinking."""

    text: str


class ToolStart(Event, frozen=True):
    """A tool call begins; its name is final, its id opaque and unique."""

    id: str
    name: str


class ToolDelta(Event, frozen=True):
    """A further fragment of the JSON text of the open call's input."""

    json: str


class ToolEnd(Event, frozen=True):
    """The open call ends. `complete` is false when the output was cut inside it: the input was closed to be
    legal JSON, but it is not what the model meant to say."""

    complete: bool = True


class ServerToolStart(Event, frozen=True):
    """The call of a tool that runs here begins: its id and its block as it begins on the wire. Input and end are told
    like those of any call."""

    id: str
    block: Mapping[str, Any]


class ServerResult(Event, frozen=True):
    """What came of such a call: its block, whole, as it is on the wire."""

    block: Mapping[str, Any]


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """Where code ran, so that a later request can go on with its files until it expires (in seconds since 1970)."""

    id: str
    expires: float


class Compacted(Event, frozen=True):
    """The conversation before this was summarised; none where the model wrote no summary."""

    summary: str | None


class Finished(Event, frozen=True):
    """The reply is over, and why. Of a refusal, `explanation` is what the server said in place of a reply."""

    reason: StopReason
    usage: Usage
    stop_sequence: str | None = None
    explanation: str | None = None
    container: Container | None = None
    edits: tuple[AppliedEdit, ...] = ()


AnyEvent = (
    Started
    | TokensSampled
    | TextDelta
    | Cited
    | ThinkingDelta
    | ToolStart
    | ToolDelta
    | ToolEnd
    | ServerToolStart
    | ServerResult
    | Compacted
    | Finished
)
"""A model's reply has no `ServerToolStart` and no `ServerResult`: these are told between its rounds.
`Compacted` is told before it."""

Emit = Callable[[list[AnyEvent]], Awaitable[None]]
"""Takes what came at once. Whoever generates awaits it for every batch, so a slow client slows the reading of the
engine; what it raises ends the generation."""
Run = Callable[[Emit], Coroutine[Any, Any, None]]
"""Generates one reply, and emits it batch by batch."""
