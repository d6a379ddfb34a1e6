"""Reads a reply that somebody else has parsed already: pieces of text, thinking and calls, in whatever order they come.

Servers interleave the parts of several calls, repeat ids or leave them out, and send arguments that are no JSON. What
is handed on is one block after the other: what belongs to a later block waits until the one before it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from antiphon.api.events import AnyEvent, ThinkingDelta, ToolDelta, ToolEnd, ToolStart
from antiphon.parsing.coercion import Coercion
from antiphon.parsing.json import lenient
from antiphon.parsing.reader import declared
from antiphon.parsing.splitter import Reading, Splitter

if TYPE_CHECKING:
    from antiphon.parsing.arguments import Signature
    from antiphon.parsing.parser import Parser


class _Words:
    """A run of text or of thinking, as far as it was not told."""

    def __init__(self, thinking: bool) -> None:
        self.thinking = thinking
        self.waiting = ""


class _Call:
    """A call, its arguments as they come. `index` and `id` are what the server calls it by. `complete` says whether the
    arguments were whole."""

    def __init__(self, index: int | None, id: str) -> None:
        self.index = index
        self.id = id
        self.name = ""
        self.begun = self.over = self.complete = False
        self.coercion: Coercion | None = None
        self._source = Splitter()
        self._written: list[str] = []
        self._reading = self._read()

    def feed(self, text: str) -> None:
        self._source.feed(text)

    def fragments(self, *, ended: bool = False) -> str:
        """Further JSON text of the input, as far as it is certain; when `ended`, all of it."""
        self._source.ended = ended
        if not self.over:
            try:
                next(self._reading)
            except StopIteration:
                self.over = True
        written = "".join(self._written)
        self._written.clear()
        return written

    def _read(self) -> Reading[None]:
        yield from self._source.space()
        first = yield from self._source.peek()
        if first == "{":
            try:
                self.complete = yield from lenient.value(self._source, self._written.append)
            except lenient.Broken:
                self._written.append("{}")
            return
        # An object written as a string, a word in place of one, or nothing.
        while not self._source.ended:
            yield
        text, whole = lenient.whole(self._source.text[self._source.position :])
        if text.startswith('"'):
            text, whole = lenient.whole(lenient.decoded(text))
        self.complete = whole or not first
        self._written.append(text if text.startswith("{") else "{}")


class Deltas:
    """One reply. `parser` reads the text: it finds stop sequences, and what the server left in it of thinking and
    calls. Thinking that comes by itself, and calls, go past it. `tools` says what types the input of a call has."""

    def __init__(self, parser: Parser, tools: Mapping[str, Signature], new_id: Callable[[], str]) -> None:
        self._parser = parser
        self._tools = tools
        self._new_id = new_id
        self._queue: deque[_Words | _Call] = deque()
        self._open: list[_Call] = []
        self._spoken = ""
        self.calls = 0
        self.cut_call = False
        """Whether the last call is one that broke off."""

    @property
    def over(self) -> bool:
        """Whether a stop sequence has come, after which nothing is read."""
        return self._parser.stop_sequence is not None

    @property
    def settled(self) -> bool:
        """Whether the last thing that came is a call that is whole."""
        return not self._queue and self._spoken == "call"

    def words(self, text: str, *, thinking: bool) -> None:
        """More text, or more thinking."""
        last = self._queue[-1] if self._queue else None
        if not isinstance(last, _Words) or last.thinking != thinking:
            if not text.strip() and isinstance(last, _Call):
                return
            last = _Words(thinking)
            self._queue.append(last)
        last.waiting += text

    def call(self, index: int | None, id: str | None, name: str | None, arguments: str) -> None:
        """A part of a call. One that says neither index nor id belongs to the last call, unless it has a name."""
        entry = self._meant(index, id or "", named=bool(name))
        if entry is None:
            entry = _Call(index, id or "")
            self._open.append(entry)
            self._queue.append(entry)
        entry.id = entry.id or id or ""
        if name and not entry.begun:
            entry.name += name
        entry.feed(arguments)

    def _meant(self, index: int | None, id: str, *, named: bool) -> _Call | None:
        for call in reversed(self._open):
            if index is not None and call.index is not None:
                # Some servers use one index for all calls, and only ids tell them apart.
                fits = index == call.index and not (id and call.id and id != call.id)
            else:
                fits = (id == call.id) if id and call.id else not named
            if fits:
                # A call that is whole and is named again is another one by the same id.
                return None if named and call.over else call
        return None

    def take(self) -> list[AnyEvent]:
        """The events that what has come so far amounts to."""
        events: list[AnyEvent] = []
        while self._queue and not self.over:
            head = self._queue[0]
            if isinstance(head, _Words):
                self._say(head, events)
                done = len(self._queue) > 1
            else:
                self._argue(head, events, ended=False)
                done = head.over
                if done:
                    self._end(head, events)
            if not done:
                break
            self._queue.popleft()
        return events

    def finish(self) -> list[AnyEvent]:
        """The reply is over: the remaining events. Calls that are still open are closed."""
        events = self.take()
        while self._queue and not self.over:
            head = self._queue.popleft()
            if isinstance(head, _Words):
                self._say(head, events)
            elif head.name:
                self._argue(head, events, ended=True)
                self._end(head, events)
        if not self.over:
            events += self._parser.finish()
        return events

    def _say(self, words: _Words, events: list[AnyEvent]) -> None:
        text, words.waiting = words.waiting, ""
        if words.thinking and self._spoken != "thinking":
            text = text.lstrip()
        if not text:
            return
        if words.thinking:
            self._switch("thinking", events)
            events.append(ThinkingDelta(text))
        else:
            self._switch("text", events)
            self.cut_call = False
            events += self._parser.feed(text)

    def _argue(self, call: _Call, events: list[AnyEvent], *, ended: bool) -> None:
        if not call.name:
            return
        written = call.fragments(ended=ended)
        if not call.begun and (written or ended or call.over):
            call.begun = True
            self.calls += 1
            self._switch("call", events)
            name = declared(self._tools, call.name) or call.name
            if name in self._tools:
                call.coercion = Coercion(self._tools[name].shape)
            events.append(ToolStart(self._new_id(), name))
        if written and (right := call.coercion.feed(written) if call.coercion else written):
            events.append(ToolDelta(right))

    def _end(self, call: _Call, events: list[AnyEvent]) -> None:
        self.cut_call = not call.complete
        events.append(ToolEnd(call.complete))

    def _switch(self, kind: str, events: list[AnyEvent]) -> None:
        """Another kind of block begins: the run of text before it is over, and so is the space around it."""
        if self._spoken and "text" in (self._spoken, kind) and self._spoken != kind:
            events += self._parser.pause(called="call" in (self._spoken, kind))
        self._spoken = kind
