"""One reply's parser: drives a format over the splitter and yields events."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from antiphon.api.citations import Source
from antiphon.api.events import AnyEvent
from antiphon.parsing.arguments import Signature
from antiphon.parsing.bare_calls import BareCalls
from antiphon.parsing.citations import CitationReader
from antiphon.parsing.reader import Reader, Stopped
from antiphon.parsing.turn import read_turn, stray_markers

if TYPE_CHECKING:
    from antiphon.parsing.formats import Format, Reasoning


class Parser:
    """One reply's parser: text in, events out.

    `format` reads calls, `reasoning` says how thinking is marked. `tools` maps each offered tool's name to its
    signature (empty: calls are not looked for). `starts_thinking` says that the prompt ended inside thinking,
    `calls_in_thinking` whether a call that is written there counts, `bare_calls` whether a reply that is nothing but
    call objects is these calls. `thinking_tokens` are the markers that open thinking and are one token each, by their
    ids. `sources` are what the text may cite."""

    def __init__(
        self,
        format: Format,
        reasoning: Reasoning,
        tools: Mapping[str, Signature],
        *,
        new_id: Callable[[], str],
        stop: Sequence[str] = (),
        starts_thinking: bool = False,
        calls_in_thinking: bool = True,
        bare_calls: bool = True,
        thinking_tokens: Mapping[int, str] | None = None,
        sources: Sequence[Source] = (),
    ) -> None:
        self._reader = Reader(tools, new_id, stop, starts_thinking)
        if sources:
            self._reader.citations = CitationReader(sources, self._reader.stopper)
        self._reader.calls_in_thinking = calls_in_thinking
        self._bare = BareCalls(Reader(tools if bare_calls else {}, new_id, (), False), stray_markers(format, reasoning))
        self._thinking_tokens = thinking_tokens or {}
        self._thinking_marks = tuple(self._thinking_tokens.values())
        drive = format.read_turn or read_turn
        self._run = drive(self._reader, format, reasoning)
        self._over = False
        self._resume()

    @property
    def in_thinking(self) -> bool:
        """Whether the text so far ends inside thinking."""
        return self._reader.in_thinking and not self._reader.in_call

    @property
    def in_call(self) -> bool:
        """Whether the text so far ends inside a call."""
        return self._reader.in_call

    @property
    def settled(self) -> bool:
        """Whether nothing of the text so far may still become the beginning of a call."""
        return self._reader.settled and not self._bare.holds

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that has come, after which nothing is read."""
        return self._reader.stopper.sequence

    @property
    def calls(self) -> int:
        """How many calls have begun."""
        return self._reader.calls + self._bare.calls

    @property
    def cut_call(self) -> bool:
        """Whether the output, now over, broke off inside a call."""
        return self._reader.cut_call

    def feed(self, text: str, ids: Sequence[int] = ()) -> list[AnyEvent]:
        """The events that this much more text amounts to. `ids` are the tokens that were sampled for it, where the
        engine tells them: they say of a marker whether it is the token or only its letters."""
        if not self._over:
            source = self._reader.source
            source.feed(text)
            if ids and self._thinking_tokens:
                self._reader.told_thinking = self._thinking_marks
                if self.names_thinking(ids):
                    source.note([self._thinking_tokens[id] for id in ids if id in self._thinking_tokens], len(text))
            self._resume()
        return self._take()

    def names_thinking(self, ids: Sequence[int]) -> bool:
        """Whether one of these tokens opens thinking."""
        return not self._thinking_tokens.keys().isdisjoint(ids)

    def pause(self, *, called: bool = False) -> list[AnyEvent]:
        """Something that is not written in the text comes between: the run of text so far is over. `called` says that
        it is a call."""
        if not self._over:
            try:
                self._reader.pause()
            except Stopped:
                self._over = True
        events = self._take()
        return [*events, *self._bare.released()] if called else events

    def finish(self) -> list[AnyEvent]:
        """The output is over: the remaining events. Calls that are still open are closed, their input legal."""
        if not self._over:
            self._reader.source.ended = True
            self._resume()
        events = self._take()
        if self._bare.possible:
            events += self._bare.finish() if self.stop_sequence is None else self._bare.released()
        return events

    def _take(self) -> list[AnyEvent]:
        events, self._reader.events = self._reader.events, []
        return self._bare.passed(events) if self._bare.possible else events

    def _resume(self) -> None:
        try:
            next(self._run)
        except StopIteration:
            self._over = True
            with contextlib.suppress(Stopped):
                self._reader.end()
        except Stopped:
            self._over = True
