"""Events → the chat completions API: a stream of chunks, or one completion by folding the same events.

The format has one message with three places (content, reasoning, calls) and no boundaries between blocks, so all
there is to hold is which call is open. The hot path glues a prefix and a suffix that are made once per reply around a
JSON string: no dictionaries, no second pass over the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from antiphon.api.errors import Internal
from antiphon.api.events import (
    AnyEvent,
    Finished,
    Reply,
    ServerResult,
    ServerToolStart,
    Started,
    StopReason,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    ToolBlock,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.surfaces.chat_completions import sent
from antiphon.surfaces.http.json_text import text_json

_to_json = msgspec.json.Encoder().encode

PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"

REASONS: dict[StopReason, sent.Reason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    # Never here: this surface offers no server tools.
    "pause_turn": "stop",
}


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How one reply is to be told: its id, when it was made, the model's name as the client wrote it, whether a stream
    ends with its usage, and whether calls are told in the older form, as functions."""

    id: str
    created: int
    model: str
    usage: bool = False
    legacy: bool = False


def usage_sent(usage: Usage) -> sent.Usage:
    """The figures as the API reports them."""
    return sent.Usage(
        prompt_tokens=usage.prompt,
        completion_tokens=usage.output,
        total_tokens=usage.prompt + usage.output,
        prompt_tokens_details=sent.PromptDetails(usage.cached),
        completion_tokens_details=sent.CompletionDetails(usage.thinking),
    )


def _reason(style: Style, end: Finished | Reply) -> sent.Reason:
    if end.explanation:
        # A refusal that is told in words has a place of its own, and nothing else shows it.
        return "stop"
    return "function_call" if style.legacy and end.reason == "tool_use" else REASONS[end.reason]


def whole(style: Style, reply: Reply) -> bytes:
    """The unstreamed reply."""
    text = "".join(block.text for block in reply.blocks if isinstance(block, TextBlock))
    thought = "".join(block.text for block in reply.blocks if isinstance(block, ThinkingBlock))
    calls = [block for block in reply.blocks if isinstance(block, ToolBlock)]
    shown = text or not (calls or reply.explanation)
    message = sent.Message(content=msgspec.Raw(text_json(text)) if shown else None, refusal=reply.explanation)
    if thought:
        message.reasoning_content = msgspec.Raw(text_json(thought))
    if calls and style.legacy:
        message.function_call = _function(calls[0])
    elif calls:
        message.tool_calls = [sent.ToolCall(id=call.id, function=_function(call)) for call in calls]
    completion = sent.Completion(
        id=style.id,
        created=style.created,
        model=style.model,
        choices=[sent.Choice(message=message, finish_reason=_reason(style, reply))],
        usage=usage_sent(reply.usage),
    )
    return _to_json(completion)


def _function(call: ToolBlock) -> sent.Function:
    return sent.Function(call.name, msgspec.Raw(text_json(call.input)))


def _chunk(style: Style) -> dict[str, Any]:
    """A chunk of a stream, without its choices."""
    return {
        "id": style.id,
        "object": "chat.completion.chunk",
        "created": style.created,
        "model": style.model,
        "system_fingerprint": None,
        "choices": [],
    }


class Encoder:
    """Turns batches of events into chunks, one reply long."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._started = False
        self._finished = False
        self._calls = 0
        self._bare = False
        top = _to_json(_chunk(style))
        self._head = b"data: " + top.removesuffix(b"[]}") + b'[{"index":0,"delta":{'
        self._closing = b'],"usage":null}\n\n' if style.usage else b"]}\n\n"
        self._tail = b'},"logprobs":null,"finish_reason":null}' + self._closing
        self._content = self._head + b'"content":'
        self._reasoning = self._head + b'"reasoning_content":'
        self._arguments, self._call_tail = b"", b""

    @property
    def finished(self) -> bool:
        """Whether the reply has come to its end."""
        return self._finished

    def start(self) -> bytes:
        """The first chunk, which only says who speaks."""
        if self._started:
            raise Internal("a reply cannot start twice")
        self._started = True
        return self._head + b'"role":"assistant","content":""' + self._tail

    def batch(self, events: Iterable[AnyEvent]) -> bytes:
        """The chunks for what came at once: neighbouring deltas of one kind become one."""
        out: list[bytes] = []
        held: list[str] = []
        kind: type[AnyEvent] = Started
        for event in events:
            at = type(event)
            # By exact type: this runs for every token, and a chain of isinstance is slow.
            text: str | None = None
            if at is TextDelta or at is ThinkingDelta:
                text = event.text  # type: ignore[union-attr]
            elif at is ToolDelta:
                text = event.json  # type: ignore[union-attr]
            if text == "":
                continue
            if at is not kind:
                if held:
                    self._delta(kind, "".join(held), out)
                    held = []
                kind = at
            if text is None:
                self._boundary(event, out)
            else:
                held.append(text)
        if held:
            self._delta(kind, "".join(held), out)
        return b"".join(out)

    def _delta(self, kind: type[AnyEvent], text: str, out: list[bytes]) -> None:
        if not self._started or self._finished:
            raise Internal("a delta came outside of the reply")
        if kind is TextDelta:
            out.append(self._content + text_json(text) + self._tail)
        elif kind is ThinkingDelta:
            out.append(self._reasoning + text_json(text) + self._tail)
        elif not self._calls:
            raise Internal("input for a tool call that was never begun")
        elif not self._surplus:
            self._bare = False
            out.append(self._arguments + text_json(text) + self._call_tail)

    def _boundary(self, event: AnyEvent, out: list[bytes]) -> None:
        match event:
            case Started():
                if not self._started:
                    out.append(self.start())
            case _ if not self._started or self._finished:
                raise Internal("an event came outside of the reply")
            case ToolStart(id, name):
                self._complete(out)
                self._open(id, name, out)
            case ToolEnd():
                self._complete(out)
            case Finished():
                self._complete(out)
                if event.explanation:
                    out.append(self._head + b'"refusal":' + text_json(event.explanation) + self._tail)
                self._end(_reason(self._style, event), event.usage, out)
            case TextDelta() | ThinkingDelta() | ToolDelta():
                pass
            case ServerToolStart() | ServerResult():
                pass  # This surface offers no tools that run here.
            case _:
                assert_never(event)

    @property
    def _surplus(self) -> bool:
        """Whether the open call is one that the older form has no room for."""
        return self._style.legacy and self._calls > 1

    def _open(self, id: str, name: str, out: list[bytes]) -> None:
        index = self._calls
        self._calls += 1
        if self._surplus:
            return
        self._bare = True
        named = b'"name":%b,"arguments":""' % _to_json(name)
        if self._style.legacy:
            before = self._head + b'"function_call":{'
            first, more, after = before, before, b"}"
        else:
            before = self._head + b'"tool_calls":[{"index":%d,' % index
            first = before + b'"id":%b,"type":"function","function":{' % _to_json(id)
            more, after = before + b'"function":{', b"}}]"
        self._arguments, self._call_tail = more + b'"arguments":', after + self._tail
        out.append(first + named + self._call_tail)

    def _complete(self, out: list[bytes]) -> None:
        """A call without a word of input has the empty object as its input."""
        if self._bare:
            self._delta(ToolDelta, "{}", out)

    def _end(self, reason: str, usage: Usage, out: list[bytes]) -> None:
        self._finished = True
        out.append(self._head + b'},"logprobs":null,"finish_reason":%b}' % _to_json(reason) + self._closing)
        if self._style.usage:
            out.append(b"data: " + _to_json({**_chunk(self._style), "usage": usage_sent(usage)}) + b"\n\n")
        out.append(DONE)
