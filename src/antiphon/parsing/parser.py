"""Drives a format over the splitter and yields events.

The parser knows three things that all formats share: where thinking begins and ends, where the visible text is
trimmed, and how a reader that took something for a call by mistake gives it back as text. What a call looks like
is the format's business.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from antiphon.events import AnyEvent, TextDelta, ThinkingDelta, ToolDelta, ToolEnd, ToolStart
from antiphon.parsing.arguments import Signature
from antiphon.parsing.splitter import Reading, Splitter, markers
from antiphon.parsing.stopping import Stopper

if TYPE_CHECKING:
    from antiphon.parsing.formats import Format, Reasoning

_NAME = re.compile(r"[\w.:/-]{1,128}\Z")
_UNUSUAL = re.compile(r"[^a-zA-Z0-9_-]")

TURN_ENDS = (
    *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "<|role_end|>"),
    *("<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "[e~[", "<seed:eos>", "<|user|>", "<|observation|>"),
)
"""Tokens that end a turn. An engine that lets one through writes it last, and there it is no text."""


class _Stopped(Exception):
    """A stop sequence has come: nothing after it is read."""


class Reader:
    """What a format's reader works with: the text to read, the tools on offer, and where to put what it finds.

    Text and thinking go to `text` and `thinking`. A call is `begin`, `argue` any number of times, `finish`.
    Until `begin`, whatever was read can still turn out to be no call; from then on it is one."""

    def __init__(
        self, tools: Mapping[str, Signature], new_id: Callable[[], str], stop: Sequence[str], starts_thinking: bool
    ) -> None:
        self.source = Splitter()
        self.tools = tools
        self.starts_thinking = starts_thinking
        self.in_thinking = starts_thinking
        self.tentative = False
        """Set where a call is less than certain: then only a declared name makes one."""
        self.calls_in_thinking = True
        self.events: list[AnyEvent] = []
        self.calls = 0
        self.cut_call = False
        """Whether the last thing written is a call that the output broke off in."""
        self.stopper = Stopper(stop)
        self._new_id = new_id
        self._held = ""
        self._fresh = True
        self._verbatim = not starts_thinking
        self.in_call = False

    def text(self, text: str) -> None:
        """Visible text. White space is held until something follows it, so that it can be dropped before a call."""
        self.in_thinking = False
        text = self._held + text
        if self._fresh and not self._verbatim:
            text = text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        if body:
            self._fresh, self.cut_call = False, False
            self._say(self.stopper.feed(body))

    def _say(self, text: str) -> None:
        if text:
            self.events.append(TextDelta(text))
        if self.stopper.found is not None:
            raise _Stopped

    def thinking(self, text: str) -> None:
        """More thinking. Its outer white space is markup."""
        self.in_thinking = True
        text = self._held + text
        if self._fresh:
            text = text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        if body:
            self._fresh = False
            self.events.append(ThinkingDelta(body))

    def boundary(self, *, thinking: bool = False) -> None:
        """The run of text or thinking is over; the white space at its end is dropped. `thinking` says what follows."""
        self._say(self.stopper.flush())
        self._held, self._fresh, self._verbatim, self.in_thinking = "", True, False, thinking

    @property
    def spoken(self) -> bool:
        """Whether the present run of text or thinking has anything in it yet."""
        return not self._fresh

    def resolve(self, name: str) -> str | None:
        """The tool that a name in the output means: declared names as they are, with the decorations that models add
        taken off, or written with other characters in place of underscores. A name nobody declared makes a call only
        where one is certain and the name could be one; characters that no tool's name has become underscores."""
        name = name.strip().strip("\"'`")
        if name in self.tools:
            return name
        for decoration in ("functions.", "function.", "tools.", "functions/", "functions:"):
            bare = name.removeprefix(decoration)
            if bare != name and (bare in self.tools or not self.tentative):
                return self.resolve(bare)
        usual = _UNUSUAL.sub("_", name)
        if usual in self.tools:
            return usual
        return usual if not self.tentative and _NAME.match(name) else None

    def signature(self, name: str) -> Signature:
        """The types of the tool's parameters; of an unknown tool, nothing is known."""
        return self.tools.get(name) or Signature({})

    def begin(self, name: str) -> None:
        """A call begins. `name` comes from `resolve`."""
        self.boundary(thinking=self.in_thinking)
        self.source.release()
        self.calls += 1
        # What follows a declared tool's call in the same block is a call too, whatever its name.
        self.tentative = False
        self.in_call = True
        self.events.append(ToolStart(self._new_id(), name))

    def argue(self, json: str) -> None:
        """A further fragment of the JSON text of the call's input."""
        if json:
            self.events.append(ToolDelta(json))

    def finish(self, complete: bool) -> None:
        """The call is over. `complete` is false when the text broke off in it."""
        self.in_call = False
        self.cut_call = not complete
        self.events.append(ToolEnd(complete))

    def call(self, name: str, json: str, complete: bool = True) -> None:
        """A whole call at once."""
        self.begin(name)
        self.argue(json)
        self.finish(complete)

    def end(self) -> None:
        """The output is over: what was held back is let out, the white space that ends a run of text too."""
        held, self._held = self._held, ""
        if self.spoken and not self.in_thinking:
            self._say(self.stopper.feed(held))
        self._say(self.stopper.flush())


def converse(reader: Reader, format: Format, reasoning: Reasoning) -> Reading[None]:
    """The course of a reply in most formats: thinking and text in turn, calls between."""
    source = reader.source
    openers, hints = (format.openers, format.hints) if reader.tools else ((), ())
    strays = _strays(format, reasoning) if reader.tools else ()
    anywhere = reasoning.opens if reasoning.anywhere else ()
    wanted = markers(*openers, *hints, *anywhere, *reasoning.dropped, *TURN_ENDS)
    closed = False
    thinking = reader.starts_thinking
    while (yield from source.peek()):
        if thinking:
            yield from _think(reader, format, reasoning, openers)
            thinking, closed = False, True
            continue
        space = yield from source.space()
        if reasoning.opens and not reader.spoken and (yield from source.accept(*reasoning.opens)):
            reader.boundary(thinking=True)
            thinking = True
            continue
        if (closed or not reader.spoken) and (yield from source.accept(*reasoning.closes)):
            # A second closing marker, one after a call that was written inside the thinking, or one of no thinking.
            reader.boundary()
            continue
        if reader.calls and not reader.spoken and (yield from source.accept(*strays)):
            continue
        if reader.tools and format.bare and (yield from source.peek()) in format.bare:
            source.mark()
            reader.tentative = True
            found = yield from format.read(reader, "")
            reader.tentative = False
            if found:
                source.release()
                continue
            source.rewind()
        reader.text(space)
        marker = yield from source.until(wanted, reader.text)
        if marker and marker in (*openers, *hints):
            reader.tentative = marker in hints
            found = yield from attempt(reader, format, marker, reader.text)
            reader.tentative = False
            closed = closed and not found
        elif marker in anywhere and marker:
            reader.boundary(thinking=True)
            thinking = True
        elif marker in TURN_ENDS and (yield from source.past_space())[1] != "":
            reader.text(marker)
        elif marker:
            reader.boundary()


@lru_cache(maxsize=256)
def _strays(format: Format, reasoning: Reasoning) -> tuple[str, ...]:
    """The markers of a format that are none of the text when they stand after a call: closing ones, written twice."""
    begins = (*format.openers, *format.hints, *reasoning.opens, *reasoning.closes, *reasoning.dropped)
    return tuple(mark for mark in format.visible if not any(other.startswith(mark) for other in begins))


def _think(reader: Reader, format: Format, reasoning: Reasoning, openers: tuple[str, ...]) -> Reading[None]:
    source = reader.source
    yield from source.space()
    # Some models write the opening marker again although the prompt ended with it.
    yield from source.accept(*reasoning.opens)
    openers = openers if reader.calls_in_thinking else ()
    ends = markers(*reasoning.closes, *openers)
    while True:
        marker = yield from source.until(ends, reader.thinking)
        if marker in openers and marker:
            reader.tentative = True
            yield from attempt(reader, format, marker, reader.thinking)
            reader.tentative = False
        else:
            reader.boundary(thinking=not marker)
            return


def attempt(reader: Reader, format: Format, marker: str, otherwise: Callable[[str], None]) -> Reading[bool]:
    """Read a call after its opening marker, which was just used up. When there is none, the marker was text."""
    source = reader.source
    source.at -= len(marker)
    source.mark()
    source.at += len(marker)
    calls = reader.calls
    found = yield from format.read(reader, marker)
    if found or reader.calls > calls:
        source.release()
        return True
    source.rewind()
    source.at += len(marker)
    otherwise(marker)
    return False


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
            with contextlib.suppress(_Stopped):
                self._reader.end()
        except _Stopped:
            self._over = True
