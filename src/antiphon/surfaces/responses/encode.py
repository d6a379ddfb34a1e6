"""Events → the Responses API: a stream of frames, or one response by folding the same events.

The encoder holds which item is open. A text, a thought or a call opens one, a change of kind closes it. The hot path
glues a prefix that is made once per item, a JSON string and the number of the frame: no dictionaries, no second pass
over the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, assert_never

import msgspec

from antiphon.api.errors import Failure, Internal
from antiphon.api.events import (
    AnyEvent,
    Block,
    Finished,
    Reply,
    ServerResult,
    ServerResultBlock,
    ServerToolBlock,
    ServerToolStart,
    Started,
    TextBlock,
    TextDelta,
    ThinkingBlock,
    ThinkingDelta,
    TokensSampled,
    ToolBlock,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.openai import failures
from antiphon.surfaces.responses import items, sent
from antiphon.surfaces.responses.items import Item
from antiphon.surfaces.responses.shapes import Fields, Function

_to_json = msgspec.json.Encoder().encode

# The API has no such event; a comment keeps the connection alive, and no client can take it for more.
PING = b": ping\n\n"


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How one response is told: its id, when it was made and what tells when it is over, in Unix seconds, what it
    repeats of its request, and how its items are told."""

    id: str
    created: int
    clock: Callable[[], float]
    echo: sent.Echo
    items: items.Style
    background: bool = False


def usage_sent(usage: Usage) -> sent.Usage:
    """The figures as the API reports them."""
    return sent.Usage(
        input_tokens=usage.prompt,
        input_tokens_details=sent.InputDetails(usage.cached),
        output_tokens=usage.output,
        output_tokens_details=sent.OutputDetails(usage.thinking),
        total_tokens=usage.prompt + usage.output,
    )


def response(style: Style, status: sent.Status, output: list[Fields], **more: Any) -> sent.Response:
    """The response as far as it has come."""
    return sent.Response(
        **msgspec.structs.asdict(style.echo),
        id=style.id,
        created_at=style.created,
        status=status,
        background=style.background,
        output=output,
        **more,
    )


def _ended(style: Style, output: list[Fields], end: Finished) -> sent.Response:
    incomplete = _incomplete(end)
    return response(
        style,
        "incomplete" if incomplete else "completed",
        output,
        completed_at=None if incomplete else int(style.clock()),
        incomplete_details=incomplete,
        usage=usage_sent(end.usage),
    )


def _incomplete(end: Finished) -> sent.Incomplete | None:
    match end.reason:
        case "max_tokens" | "model_context_window_exceeded" | "pause_turn":
            return sent.Incomplete("max_output_tokens")
        case "refusal" if not end.explanation:
            return sent.Incomplete("content_filter")
        case _:
            # A refusal that is told in words has a place of its own.
            return None


def _cut(end: Finished) -> bool:
    return end.reason in ("max_tokens", "model_context_window_exceeded")


def whole(style: Style, reply: Reply) -> sent.Response:
    """The unstreamed response."""
    end = Finished(reply.reason, reply.usage, reply.stop_sequence, reply.explanation)
    last = len(reply.blocks) - 1
    told = [_told(style.items, block, cut=at == last and _cut(end)) for at, block in enumerate(reply.blocks)]
    if reply.explanation:
        refusal = items.Message(style.items, "refusal")
        refusal.take(reply.explanation)
        told.append(refusal.whole(True))
    return _ended(style, told, end)


def _told(style: items.Style, block: Block, *, cut: bool) -> Fields:
    """The item that a block of a whole reply is."""
    match block:
        case TextBlock(text):
            return _whole(items.Message(style), text, not cut)
        case ThinkingBlock(text):
            return _whole(items.Reasoning(style), text, not cut)
        case ToolBlock():
            return _whole(_call(style, block.id, block.name), block.input, block.complete)
        case ServerToolBlock() | ServerResultBlock():
            raise Internal("this surface offers no tools that run here")
        case _:
            assert_never(block)


def _whole(item: Item, text: str, complete: bool) -> Fields:
    item.take(text)
    return item.whole(complete)


def _call(style: items.Style, id: str, name: str) -> Item:
    return items.Call(style, id, style.shapes.get(name) or Function(name))


class Encoder:
    """Turns batches of events into frames, one response long."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._frames = 0
        self._output: list[Fields] = []
        self._item: Item | None = None
        self._kind: type[AnyEvent] | None = None
        self._prefix = b""
        self._started = False
        self._response: sent.Response | None = None

    @property
    def finished(self) -> bool:
        """Whether the response has come to its proper end."""
        return self._response is not None

    @property
    def response(self) -> sent.Response | None:
        """The whole response, once it is."""
        return self._response

    def start(self) -> bytes:
        """The first two frames."""
        if self._started:
            raise Internal("a response cannot start twice")
        self._started = True
        begun = response(self._style, "in_progress", [])
        out: list[bytes] = []
        for name in ("response.created", "response.in_progress"):
            self._tell(name, {"response": begun}, out)
        return b"".join(out)

    def batch(self, events: Iterable[AnyEvent]) -> bytes:
        """The frames for what came at once: neighbouring deltas of one kind become one."""
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

    def failure(self, failure: Failure) -> bytes:
        """The frame that ends a stream that broke off."""
        told = failures.trouble(failure, "input")
        error = sent.Failed(told.code or "server_error", told.message)
        out: list[bytes] = []
        failed = response(self._style, "failed", self._output, error=error)
        self._tell("response.failed", {"response": failed}, out)
        return b"".join(out)

    def _delta(self, kind: type[AnyEvent], text: str, out: list[bytes]) -> None:
        if self._kind is not kind:
            if kind is ToolDelta:
                raise Internal("input for a tool call that was never begun")
            style = self._style.items
            self._open(kind, items.Message(style) if kind is TextDelta else items.Reasoning(style), out)
        assert self._item is not None
        if (told := self._item.take(text)) and self._prefix:
            out.append(b'%b%b,"sequence_number":%d}\n\n' % (self._prefix, text_json(told), self._frames))
            self._frames += 1

    def _boundary(self, event: AnyEvent, out: list[bytes]) -> None:
        match event:
            case Started():
                if not self._started:
                    out.append(self.start())
            case _ if not self._started or self._response:
                raise Internal("an event came outside of the response")
            case ToolStart(id, name):
                self._open(ToolDelta, _call(self._style.items, id, name), out)
            case ToolEnd(complete):
                if self._kind is not ToolDelta:
                    raise Internal("a tool call ended that was never begun")
                self._close(out, complete)
            case Finished():
                self._end(event, out)
            case TextDelta() | ThinkingDelta() | ToolDelta() | TokensSampled():
                pass
            case ServerToolStart() | ServerResult():
                raise Internal("this surface offers no tools that run here")
            case _:
                assert_never(event)

    def _open(self, kind: type[AnyEvent], item: Item, out: list[bytes]) -> None:
        if not self._started or self._response:
            raise Internal("an event came outside of the response")
        self._close(out)
        self._kind, self._item = kind, item
        index = len(self._output)
        place = {"item_id": item.id, "output_index": index}
        self._tell("response.output_item.added", {"output_index": index, "item": item.opening()}, out)
        for name, fields in item.opened():
            self._tell(name, {**place, **fields}, out)
        name, fields = item.delta
        told = _to_json({"type": name, **place, **fields})[:-1]
        self._prefix = b'event: %b\ndata: %b,"delta":' % (name.encode(), told) if name else b""

    def _close(self, out: list[bytes], complete: bool = True) -> None:
        item = self._item
        if item is None:
            return
        index = len(self._output)
        for name, fields in item.closing(complete):
            self._tell(name, {"item_id": item.id, "output_index": index, **fields}, out)
        done = item.whole(complete)
        self._tell("response.output_item.done", {"output_index": index, "item": done}, out)
        self._output.append(done)
        self._kind, self._item = None, None

    def _end(self, event: Finished, out: list[bytes]) -> None:
        self._close(out, not _cut(event))
        if event.explanation:
            self._open(TextDelta, items.Message(self._style.items, "refusal"), out)
            self._delta(TextDelta, event.explanation, out)
            self._close(out)
        self._response = _ended(self._style, self._output, event)
        self._tell(f"response.{self._response.status}", {"response": self._response}, out)

    def _tell(self, name: str, fields: Fields, out: list[bytes]) -> None:
        told = _to_json({"type": name, **fields, "sequence_number": self._frames})
        out.append(b"event: %b\ndata: %b\n\n" % (name.encode(), told))
        self._frames += 1
