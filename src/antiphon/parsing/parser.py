"""One reply's parser: drives a format over the splitter and yields events."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from antiphon.api.events import AnyEvent
from antiphon.parsing.arguments import Signature
from antiphon.parsing.course import converse
from antiphon.parsing.reader import Reader, Stopped

if TYPE_CHECKING:
    from antiphon.parsing.formats import Format, Reasoning


class Parser:
    """One reply's parser: text in, events out.

    `format` reads calls, `reasoning` says how thinking is marked. `tools` maps each offered tool's name to its
    signature (empty: calls are not looked for). `starts_thinking` says that the prompt ended inside thinking,
    `calls_in_thinking` whether a call that is written there counts."""

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
    ) -> None:
        self._reader = Reader(tools, new_id, stop, starts_thinking)
        self._reader.calls_in_thinking = calls_in_thinking
        drive = format.converse or converse
        self._run = drive(self._reader, format, reasoning)
        self._over = False
        self._resume()

    @property
    def in_thinking(self) -> bool:
        """Whether the text so far ends inside thinking."""
        return self._reader.in_thinking and not self._reader.in_call

    @property
    def stop_sequence(self) -> str | None:
        """The stop sequence that has come, after which nothing is read."""
        return self._reader.stopper.found

    @property
    def calls(self) -> int:
        """How many calls have begun."""
        return self._reader.calls

    @property
    def cut_call(self) -> bool:
        """Whether the output, now over, broke off inside a call."""
        return self._reader.cut_call

    def feed(self, text: str) -> list[AnyEvent]:
        """The events that this much more text amounts to."""
        if not self._over:
            self._reader.source.feed(text)
            self._resume()
        return self._take()

    def pause(self) -> list[AnyEvent]:
        """Something that is not written in the text comes between: the run of text so far is over."""
        if not self._over:
            try:
                self._reader.boundary()
            except Stopped:
                self._over = True
        return self._take()

    def finish(self) -> list[AnyEvent]:
        """The output is over: the remaining events. Calls that are still open are closed, their input legal."""
        if not self._over:
            self._reader.source.ended = True
            self._resume()
        return self._take()

    def _take(self) -> list[AnyEvent]:
        events, self._reader.events = self._reader.events, []
        return events

    def _resume(self) -> None:
        try:
            next(self._run)
        except StopIteration:
            self._over = True
            with contextlib.suppress(Stopped):
                self._reader.end()
        except Stopped:
            self._over = True
