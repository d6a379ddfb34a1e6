"""A whole reply: what a stream of events amounts to, and the fold that makes one of the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

import msgspec

from antiphon.api.citations import Citation
from antiphon.api.context_management import AppliedEdit
from antiphon.api.events import (
    AnyEvent,
    Cited,
    Compacted,
    Container,
    Finished,
    ServerResult,
    ServerToolStart,
    Started,
    StopReason,
    TextDelta,
    ThinkingDelta,
    TokensSampled,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.api.tokens import Token


class TextBlock(msgspec.Struct, frozen=True):
    """A run of visible text, and what is cited for it."""

    text: str
    citations: tuple[Citation, ...] = ()


class ThinkingBlock(msgspec.Struct, frozen=True):
    """A run of thinking."""

    text: str


class ToolBlock(msgspec.Struct, frozen=True):
    """A tool call. `input` is the JSON text of its input, exactly as streamed."""

    id: str
    name: str
    input: str
    complete: bool = True


class ServerToolBlock(msgspec.Struct, frozen=True):
    """A call of a tool that runs here: its block on the wire but for the input, which is JSON text."""

    block: Mapping[str, Any]
    input: str


class ServerResultBlock(msgspec.Struct, frozen=True):
    """What came of such a call, as it is on the wire."""

    block: Mapping[str, Any]


class CompactionBlock(msgspec.Struct, frozen=True):
    """A summary of the conversation before it, or none where that failed."""

    summary: str | None


Block = TextBlock | ThinkingBlock | ToolBlock | ServerToolBlock | ServerResultBlock | CompactionBlock


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply: what the stream of events amounts to. Its `tokens`, and what their ids spell, are known where they
    were asked for."""

    blocks: tuple[Block, ...]
    reason: StopReason
    usage: Usage
    stop_sequence: str | None = None
    explanation: str | None = None
    container: Container | None = None
    tokens: tuple[Token, ...] = ()
    spelled: Mapping[int, bytes] = {}
    edits: tuple[AppliedEdit, ...] = ()


class Fold:
    """Takes events one by one and holds the reply so far, its tokens only where they are wanted (`with_tokens`). Linear
    in the length of the reply."""

    def __init__(self, *, with_tokens: bool = True) -> None:
        self._with_tokens = with_tokens
        self._blocks: list[Block] = []
        self._kind: type[TextDelta] | type[ThinkingDelta] | type[ToolDelta] | None = None
        self._pieces: list[str] = []
        self._citations: tuple[Citation, ...] = ()
        self._call: ToolStart | ServerToolStart | None = None
        self._finished: Finished | None = None
        self._tokens: list[Token] = []
        self._spelled: dict[int, bytes] = {}

    def extend(self, events: Iterable[AnyEvent]) -> None:
        """Take the next events in."""
        for event in events:
            kind = type(event)
            if kind is TokensSampled:
                if self._with_tokens:
                    self._tokens += event.tokens  # type: ignore[union-attr]
                    if event.spelled:  # type: ignore[union-attr]
                        self._spelled |= event.spelled  # type: ignore[union-attr]
            elif kind is self._kind and kind is not ToolDelta and event.text:  # type: ignore[union-attr]
                # Nearly every token: text that goes on.
                self._pieces.append(event.text)  # type: ignore[union-attr]
            else:
                self._add(event)

    def add(self, event: AnyEvent) -> None:
        """Take the next event in."""
        self.extend((event,))

    def _add(self, event: AnyEvent) -> None:
        match event:
            case TextDelta("") | ThinkingDelta(""):
                # Opens no block, in a stream either.
                pass
            case TextDelta() | ThinkingDelta():
                if self._kind is not type(event):
                    self._close()
                    self._kind = type(event)
                self._pieces.append(event.text)
            case Cited(citations):
                self._close()
                self._citations = citations
            case ToolStart() | ServerToolStart():
                self._close()
                self._kind, self._call = ToolDelta, event
            case ToolDelta(json):
                self._pieces.append(json)
            case ToolEnd(complete):
                self._close(complete)
            case Compacted(summary):
                self._close()
                self._blocks.append(CompactionBlock(summary))
            case ServerResult(block):
                self._close()
                self._blocks.append(ServerResultBlock(block))
            case Started() | TokensSampled():
                pass
            case Finished():
                self._close()
                self._finished = event
            case _:
                assert_never(event)

    async def take(self, events: Iterable[AnyEvent]) -> None:
        """Take a batch in: what `Service.run` emits to where a whole reply is wanted."""
        self.extend(events)

    def _close(self, complete: bool = True) -> None:
        if self._kind is None:
            return
        joined = "".join(self._pieces)
        if self._kind is TextDelta:
            self._blocks.append(TextBlock(joined, self._citations))
        elif self._kind is ThinkingDelta:
            self._blocks.append(ThinkingBlock(joined))
        elif isinstance(self._call, ServerToolStart):
            self._blocks.append(ServerToolBlock(self._call.block, joined or "{}"))
        elif self._call is not None:
            self._blocks.append(ToolBlock(self._call.id, self._call.name, joined or "{}", complete))
        self._kind, self._call, self._pieces, self._citations = None, None, [], ()

    def reply(self) -> Reply:
        """The reply. Raises ValueError before the stream has finished."""
        if self._finished is None:
            raise ValueError("the stream of events has not finished")
        done = self._finished
        return Reply(
            blocks=tuple(self._blocks),
            reason=done.reason,
            usage=done.usage,
            stop_sequence=done.stop_sequence,
            explanation=done.explanation,
            container=done.container,
            tokens=tuple(self._tokens),
            spelled=self._spelled,
            edits=done.edits,
        )


def fold(events: Iterable[AnyEvent]) -> Reply:
    """The reply that a whole stream of events amounts to."""
    folding = Fold()
    folding.extend(events)
    return folding.reply()


def parsed_input(block: ToolBlock) -> dict[str, Any]:
    """The input of a call as a dictionary, key order kept."""
    value = msgspec.json.decode(block.input)
    assert isinstance(value, dict)
    return value
