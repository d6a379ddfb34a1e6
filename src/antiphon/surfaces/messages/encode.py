"""Events → the Messages API: a stream of frames. (`message.py` makes one message by folding the same events.)

The encoder is a state table. What is open (nothing yet, nothing, a block of text, of thinking, a tool call,
the end) and the event that comes decide what is sent; there is no way to send anything out of order. A block
opens at its first non-empty delta and closes at a change of kind. The hot path glues a prefix that is made
once per block, a JSON string and a suffix: no dictionaries, no second pass over the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, assert_never

import msgspec

from antiphon.api.citations import Citation
from antiphon.api.errors import Internal
from antiphon.api.events import (
    AnyEvent,
    Cited,
    Compacted,
    Finished,
    ServerResult,
    ServerToolStart,
    Started,
    TextDelta,
    ThinkingDelta,
    TokensSampled,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.api.tokens import Token
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.messages.citations import location
from antiphon.surfaces.messages.context_management import applied
from antiphon.surfaces.messages.message import (
    Style,
    compaction_sent,
    container,
    details,
    message_sent,
    tool_sent,
    usage_sent,
)

_to_json = msgspec.json.Encoder().encode

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_END = b"}}\n\n"


class _State(Enum):
    FRESH = "nothing sent yet"
    IDLE = "no block open"
    TEXT = "a block of text open"
    THINKING = "a block of thinking open"
    TOOL = "a tool call open"
    RESULT = "the result of a server tool open"
    DONE = "the message is over"


def frame(name: str, data: Mapping[str, Any]) -> bytes:
    """One event of the stream. Not for the hot path."""
    return b"event: " + name.encode() + b"\ndata: " + _to_json(data) + b"\n\n"


def ending(style: Style, end: Finished, more: Mapping[str, Any]) -> bytes:
    """The last two frames: why the message ended, with what `more` there is to tell, and that it has."""
    delta = {
        "stop_reason": end.reason,
        "stop_sequence": end.stop_sequence,
        "stop_details": details(end),
        "container": container(end),
    }
    data: dict[str, Any] = {"type": "message_delta", "delta": delta, "usage": usage_sent(style, end.usage), **more}
    if style.context_management:
        data["context_management"] = applied(end.edits)
    return frame("message_delta", data) + _STOP


_DELTAS = {
    _State.TEXT: (b'"text_delta","text":', b'{"type":"text","text":""}'),
    _State.THINKING: (b'"thinking_delta","thinking":', b'{"type":"thinking","thinking":"","signature":""}'),
    _State.TOOL: (b'"input_json_delta","partial_json":', b""),
    _State.RESULT: (b"", b""),
}
_CITED = b'{"type":"text","text":"","citations":[]}'
_OPENED_BY: dict[type, _State] = {TextDelta: _State.TEXT, ThinkingDelta: _State.THINKING, ToolDelta: _State.TOOL}
_DONE, _THINKING, _TOOL = _State.DONE, _State.THINKING, _State.TOOL


class Encoder:
    """Turns batches of events into frames, one message long."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._state = _State.FRESH
        self._index = -1
        self._prefix = b""
        self._thought: list[str] = []
        self._tokens: list[Token] = []
        self._due = 0
        self._cited: tuple[Citation, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the message has come to its end."""
        return self._state is _State.DONE

    def start(self, usage: Usage) -> bytes:
        """The first frame. `usage` may still lack what was cached; the last frame tells it again."""
        if self._state is not _State.FRESH:
            raise Internal("a message cannot start twice")
        self._state = _State.IDLE
        # The API counts a token as soon as it starts to answer; some clients divide by this figure.
        opening = usage_sent(self._style, msgspec.structs.replace(usage, output=1, thinking=0))
        return frame("message_start", {"type": "message_start", "message": message_sent(self._style, [], opening)})

    def batch(self, events: Iterable[AnyEvent]) -> bytes:
        """The frames for what came at once: neighbouring deltas of one kind become one."""
        out: list[bytes] = []
        held: list[str] = []
        kind: _State | None = None
        for event in events:
            if self._state is _DONE:
                break
            # By exact type: this runs for every token, and a chain of isinstance is slow.
            if type(event) is TokensSampled:
                self._tokens += event.tokens
                continue
            state, text = _OPENED_BY.get(type(event)), ""
            if state is not None:
                text = event.json if state is _TOOL else event.text  # type: ignore[union-attr]
                if not text:
                    continue
            if state is not kind and kind is not None:
                self._delta(kind, "".join(held), out)
                held = []
            kind = state
            if text:
                held.append(text)
                self._due = len(self._tokens)
            else:
                self._boundary(event, out)
        if kind is not None:
            self._delta(kind, "".join(held), out)
        return b"".join(out)

    def _boundary(self, event: AnyEvent, out: list[bytes]) -> None:
        match event:
            case Started(usage):
                if self._state is _State.FRESH:
                    out.append(self.start(usage))
            case ToolStart(id, name):
                call = _to_json(tool_sent(self._style, id, name, msgspec.Raw(b"{}")))
                self._open(_State.TOOL, call, out)
            case Cited(citations):
                self._close(out)
                self._cited = citations
            case ServerToolStart(_, block):
                self._open(_State.TOOL, _to_json(block), out)
            case Compacted(summary):
                self._open(_State.RESULT, _to_json(compaction_sent(self._style, None, summary)), out)
                delta = {"type": "compaction_delta", "content": summary, "encrypted_content": None}
                data = {"type": "content_block_delta", "index": self._index, "delta": delta}
                out.append(frame("content_block_delta", data))
                self._close(out)
            case ServerResult(block):
                self._open(_State.RESULT, _to_json(block), out)
                self._close(out)
            case ToolEnd():
                if self._state is not _State.TOOL:
                    raise Internal("a tool call ended that was never begun")
                self._close(out)
            case Finished():
                self._close(out)
                style = self._style
                more = style.tokens.members(self._tokens) if style.tokens and self._tokens else {}
                out.append(ending(style, event, more))
                self._state = _State.DONE
            case TextDelta() | ThinkingDelta() | ToolDelta() | TokensSampled():
                pass
            case _:
                assert_never(event)

    def _delta(self, state: _State, text: str, out: list[bytes]) -> None:
        if self._state is not state:
            if state is _State.TOOL:
                raise Internal("input for a tool call that was never begun")
            # What has no text of its own is told with this one.
            self._close(out, tells_tokens=False)
            self._open(state, _CITED if self._cited and state is _State.TEXT else _DELTAS[state][1], out)
        if state is _THINKING:
            self._thought.append(text)
            if self._style.withheld:
                return
        out.append(self._prefix + text_json(text) + (self._end_with(self._due) if self._due else _END))

    def _end_with(self, count: int) -> bytes:
        """The end of a delta, with the first so many of the tokens that are to be told."""
        assert self._style.tokens
        tokens, self._due = self._tokens, 0
        if count == len(tokens):
            self._tokens = []
        else:
            tokens, self._tokens = tokens[:count], tokens[count:]
        return b"}%b}\n\n" % self._style.tokens.beside(tokens)

    def _open(self, state: _State, block: bytes, out: list[bytes]) -> None:
        self._close(out)
        self._index += 1
        index = str(self._index).encode()
        out.append(
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%b,"content_block":%b}\n\n'
            % (index, block)
        )
        if self._index == 0:
            out.append(PING)
        self._prefix = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%b,"delta":{"type":%b'
            % (index, _DELTAS[state][0])
        )
        self._state = state
        cited, self._cited = self._cited if state is _State.TEXT else (), ()
        out.extend(
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%b,'
            b'"delta":{"type":"citations_delta","citation":%b}}\n\n' % (index, _to_json(location(citation)))
            for citation in cited
        )

    def _close(self, out: list[bytes], *, tells_tokens: bool = True) -> None:
        if self._state is _State.FRESH or self._state is _State.DONE:
            raise Internal(f"an event came while {self._state.value}")
        if self._state is _State.IDLE:
            return
        index = str(self._index).encode()
        if self._tokens and tells_tokens:
            # What was sampled without any text to be told with: the markers around a call, the end of a turn.
            out.append(self._prefix + b'""' + self._end_with(len(self._tokens)))
        if self._state is _State.THINKING:
            signature = self._style.seal.sign("".join(self._thought), withheld=self._style.withheld)
            self._thought = []
            out.append(
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%b,'
                b'"delta":{"type":"signature_delta","signature":%b}}\n\n' % (index, _to_json(signature))
            )
        out.append(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%b}\n\n' % index)
        self._state = _State.IDLE
