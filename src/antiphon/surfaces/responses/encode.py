"""Events → the Responses API: a stream of frames.

The encoder holds which item is open. A text, a thought or a call opens one, a change of kind closes it. The hot path
glues a prefix that is made once per item, a JSON string and the number of the frame: no dictionaries, no second pass
over the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

import msgspec

from antiphon.api.citations import Citation
from antiphon.api.errors import Failure, Internal
from antiphon.api.events import (
    AnyEvent,
    Cited,
    Compacted,
    Finished,
    Run,
    ServerResult,
    ServerToolStart,
    Started,
    TextDelta,
    ThinkingDelta,
    TokensSampled,
    ToolDelta,
    ToolEnd,
    ToolStart,
)
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.openai import failures
from antiphon.surfaces.responses import items, sent
from antiphon.surfaces.responses.frames import frame
from antiphon.surfaces.responses.items import Item
from antiphon.surfaces.responses.reply import Style, client_call, compaction_item, cut_short, ended, response
from antiphon.surfaces.responses.server_items import ServerCall, ServerCalls
from antiphon.surfaces.responses.token_ids import Tokens
from antiphon.surfaces.responses.tools.shapes import Fields

_to_json = msgspec.json.Encoder().encode

# The API has no such event; a comment keeps the connection alive, and no client can take it for more.
PING = b": ping\n\n"
_WITHOUT_ID = "response.shell_call_command."
"""Of all events of items these alone do not name the item."""


class Encoder:
    """Turns batches of events into frames, one response long."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._frames = 0
        self._output: list[Fields | None] = []
        self._item: Item | None = None
        self._index = -1
        self._calls = ServerCalls(style.items)
        self._tokens = Tokens(style.tokens)
        self._running: dict[int, ServerCall] = {}
        self._citations: Sequence[Citation] = ()
        self._kind: type[AnyEvent] | None = None
        self._prefix = b""
        self._started = False
        self._response: sent.Response | None = None

    @property
    def finished(self) -> bool:
        """Whether the response has come to its end."""
        return self._response is not None

    @property
    def response(self) -> sent.Response | None:
        """The whole response, once it is."""
        return self._response

    def start(self) -> bytes:
        """The frames that come before the model says anything."""
        if self._started:
            raise Internal("a response cannot start twice")
        self._started = True
        begun = response(self._style, "in_progress", [])
        out: list[bytes] = []
        for name in ("response.created", "response.in_progress"):
            self._tell(name, {"response": begun}, out)
        for item in self._style.first:
            self._open(Started, item, out)
            self._close(out)
        return b"".join(out)

    def batch(self, events: Iterable[AnyEvent]) -> bytes:
        """The frames for what came at once: neighbouring deltas of one kind become one."""
        out: list[bytes] = []
        held: list[str] = []
        kind: type[AnyEvent] = Started
        for event in events:
            current = type(event)
            # By exact type: this runs for every token, and a chain of isinstance is slow.
            text: str | None = None
            if current is TextDelta or current is ThinkingDelta:
                text = event.text  # type: ignore[union-attr]
            elif current is ToolDelta:
                text = event.json  # type: ignore[union-attr]
            if text == "":
                continue
            if current is TokensSampled:
                self._tokens.add(event)  # type: ignore[arg-type]
                continue
            if current is not kind:
                if held:
                    self._delta(kind, "".join(held), out)
                    held = []
                kind = current
            if text is None:
                self._boundary(event, out)
            else:
                held.append(text)
                self._tokens.mark()
        if held:
            self._delta(kind, "".join(held), out)
        return b"".join(out)

    def failure(self, failure: Failure) -> bytes:
        """The frame that ends a stream that broke off."""
        out: list[bytes] = []
        done = [item for item in self._output if item is not None]
        self._response = response(self._style, "failed", done, error=_error_sent(failure))
        self._tell("response.failed", {"response": self._response}, out)
        return b"".join(out)

    def _delta(self, kind: type[AnyEvent], text: str, out: list[bytes]) -> None:
        if self._kind is not kind:
            if kind is ToolDelta:
                raise Internal("input for a tool call that was never begun")
            style = self._style.items
            message = kind is TextDelta
            item = items.Message(style, citations=self._citations) if message else items.Reasoning(style)
            self._open(kind, item, out)
        assert self._item is not None
        delta, beside = self._item.take(text), self._tokens.beside(self._item)
        if delta and self._prefix:
            out.append(b'%b%b%b,"sequence_number":%d}\n\n' % (self._prefix, text_json(delta), beside, self._frames))
            self._frames += 1

    def _boundary(self, event: AnyEvent, out: list[bytes]) -> None:
        match event:
            case Started():
                if not self._started:
                    out.append(self.start())
            case _ if not self._started or self._response:
                raise Internal("an event came outside of the response")
            case ToolStart(id, name):
                self._calls.beside(id)
                self._open(ToolDelta, client_call(self._style.items, id, name), out)
            case ServerToolStart(_, block):
                self._open(ToolDelta, self._calls.begin(block), out)
            case ServerResult(block):
                self._close(out)
                self._answer(self._calls.end(block), out)
            case ToolEnd(complete):
                if self._kind is not ToolDelta:
                    raise Internal("a tool call ended that was never begun")
                self._close(out, complete)
            case Finished():
                self._end(event, out)
            case Compacted(summary):
                if summary is not None:
                    self._open(Compacted, compaction_item(self._style.items, summary), out)
                    self._close(out)
            case Cited(citations):
                self._cite(citations, out)
            case TextDelta() | ThinkingDelta() | ToolDelta() | TokensSampled():
                pass
            case _:
                assert_never(event)

    def _cite(self, citations: Sequence[Citation], out: list[bytes]) -> None:
        """These are cited for the text that follows, in the open message or in one that is still to open."""
        if isinstance(self._item, items.Message):
            self._tell_all(self._item, self._index, self._item.cite(citations), out)
        else:
            self._close(out)
            self._citations = citations

    def _open(self, kind: type[AnyEvent], item: Item, out: list[bytes]) -> None:
        if not self._started or self._response:
            raise Internal("an event came outside of the response")
        self._close(out)
        self._kind, self._item, self._index, self._citations = kind, item, len(self._output), ()
        self._output.append(None)
        if not isinstance(item, items.WholeCall):
            self._begin(item, out)
        name, fields = item.delta
        head = _to_json({"type": name, "item_id": item.id, "output_index": self._index, **fields})[:-1]
        self._prefix = b'event: %b\ndata: %b,"delta":' % (name.encode(), head) if name else b""

    def _begin(self, item: Item, out: list[bytes]) -> None:
        self._tell("response.output_item.added", {"output_index": self._index, "item": item.opening()}, out)
        self._tell_all(item, self._index, item.opened(), out)

    def _close(self, out: list[bytes], complete: bool = True) -> None:
        item, self._kind, self._item = self._item, None, None
        if isinstance(item, ServerCall):
            # Its result is still to come.
            self._tell_all(item, self._index, item.input_done(), out)
            self._running[self._index] = item
        elif item is not None:
            if isinstance(item, items.WholeCall):
                self._begin(item, out)
            self._done(item, self._index, item.whole(complete), complete, out)

    def _answer(self, call: ServerCall, out: list[bytes]) -> None:
        index = next(index for index, each in self._running.items() if each is call)
        del self._running[index]
        self._done(call, index, self._calls.whole(call), True, out)
        if follower := self._calls.follower(call):
            index = len(self._output)
            self._output.append(follower)
            opening = {"output_index": index, "item": {**follower, "status": "in_progress"}}
            self._tell("response.output_item.added", opening, out)
            self._tell("response.output_item.done", {"output_index": index, "item": follower}, out)

    def _done(self, item: Item, index: int, whole: Fields, complete: bool, out: list[bytes]) -> None:
        self._tell_all(item, index, item.closing(complete), out)
        self._tell("response.output_item.done", {"output_index": index, "item": whole}, out)
        self._output[index] = whole

    def _tell_all(self, item: Item, index: int, events: items.ItemEvents, out: list[bytes]) -> None:
        for name, fields in events:
            place = {} if name.startswith(_WITHOUT_ID) else {"item_id": item.id}
            self._tell(name, {**place, "output_index": index, **fields}, out)

    def _end(self, event: Finished, out: list[bytes]) -> None:
        self._close(out, not cut_short(event))
        for index, call in self._running.items():
            self._done(call, index, call.whole(False), False, out)
        if event.explanation:
            self._open(TextDelta, items.Message(self._style.items, "refusal"), out)
            self._delta(TextDelta, event.explanation, out)
            self._close(out)
        self._response = ended(
            self._style, [item for item in self._output if item is not None], event, self._tokens.whole()
        )
        self._tell(f"response.{self._response.status}", {"response": self._response}, out)

    def _tell(self, name: str, fields: Fields, out: list[bytes]) -> None:
        out.append(frame(name, fields, self._frames))
        self._frames += 1


async def whole(style: Style, run: Run) -> sent.Response:
    """The response that a stream would have ended with: of a folded reply it is not known which tokens were those of
    which text."""
    encoder = Encoder(style)

    async def take(events: list[AnyEvent]) -> None:
        encoder.batch(events)

    await run(take)
    if encoder.response is None:
        raise Internal("the reply broke off")
    return encoder.response


def _error_sent(failure: Failure) -> sent.Failed:
    """A failure as a response has it."""
    told = failures.trouble(failure, "input")
    return sent.Failed(told.code or "server_error", told.message)
