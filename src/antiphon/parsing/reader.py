"""What a format's reader works with: the text, the tools, and where to put what it finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from antiphon.api.events import AnyEvent, TextDelta, ThinkingDelta, ToolDelta, ToolEnd, ToolStart
from antiphon.parsing.arguments import Signature
from antiphon.parsing.citations import CitationReader
from antiphon.parsing.coercion import Coercion
from antiphon.parsing.splitter import Splitter
from antiphon.parsing.stopping import Stopper

_NAME = re.compile(r"[\w.:/-]{1,128}\Z")
_UNUSUAL = re.compile(r"[^a-zA-Z0-9_-]")
_NAMESPACE = re.compile(r".*[.:/]")


def declared(tools: Collection[str], name: str) -> str | None:
    """The tool of this name, or the only one whose name differs from it by case alone."""
    if name in tools:
        return name
    fitting = [tool for tool in tools if tool.lower() == name.lower()]
    return fitting[0] if len(fitting) == 1 else None


class Stopped(Exception):
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
        self.messages = False
        """Set where a reply is a row of messages: what two of a kind say, one after the other, are two paragraphs."""
        self.told_thinking: tuple[str, ...] = ()
        """The tokens that open thinking, where the splitter knows which of the text was one of them."""
        self.events: list[AnyEvent] = []
        self.calls = 0
        self.cut_call = False
        """Whether the last thing written is a call that the output broke off in."""
        self.stopper = Stopper(stop)
        self.citations: CitationReader | None = None
        """Takes citations out of the text, where there is something to cite."""
        self._new_id = new_id
        self._held = ""
        self._fresh = True
        self._last_run: bool | None = None
        """Whether the last run that said anything was thinking; None where there was none since the last call."""
        self._verbatim = not starts_thinking
        self.in_call = False
        self._coercion = Coercion(Signature({}).shape)

    def text(self, text: str) -> None:
        """Visible text. White space is held until something follows it, so that it can be dropped before a call."""
        self.in_thinking = False
        text = self._held + text
        if self._fresh and not self._verbatim:
            text = text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        if body:
            self._say(self._parting(thinking=False) + body)
            self._fresh, self.cut_call = False, False

    def _say(self, text: str) -> None:
        if self.citations is not None:
            self.events += self.citations.feed(text)
        elif text := self.stopper.feed(text):
            self.events.append(TextDelta(text))
        self._check_stopped()

    def _end_text(self) -> None:
        """The run of text is over: let out what was held back of it."""
        if self.citations is not None:
            self.events += self.citations.flush()
        elif text := self.stopper.flush():
            self.events.append(TextDelta(text))
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self.stopper.sequence is not None:
            raise Stopped

    def thinking(self, text: str) -> None:
        """More thinking. Its outer white space is markup."""
        self.in_thinking = True
        text = self._held + text
        if self._fresh:
            text = text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        if body:
            self.events.append(ThinkingDelta(self._parting(thinking=True) + body))
            self._fresh = False

    def _parting(self, *, thinking: bool) -> str:
        """What parts text or thinking that has come from the run of its kind before."""
        parted = self._fresh and self.messages and self._last_run is thinking
        self._last_run = thinking
        return "\n\n" if parted else ""

    def boundary(self, *, thinking: bool = False) -> None:
        """The run of text or thinking is over; the white space at its end is dropped. `thinking` says what follows."""
        self._end_text()
        self._held, self._fresh, self._verbatim, self.in_thinking = "", True, False, thinking

    def pause(self) -> None:
        """Something that is not written in the text comes between: what follows is a run of its own."""
        self.boundary()
        self._last_run = None

    @property
    def spoken(self) -> bool:
        """Whether the present run of text or thinking has anything in it yet."""
        return not self._fresh

    @property
    def settled(self) -> bool:
        """Whether all of the text so far has been read, and none of it may be read anew."""
        return not self.in_call and self.source.settled

    def resolve(self, name: str) -> str | None:
        """The tool that a name in the output means: declared names as they are, with the decorations that models add
        taken off, or written with other characters in place of underscores, or in letters of another case where that
        leaves one tool. Where a call is certain, a namespace before a declared name is left out. A name nobody
        declared makes a call only where one is certain and the name could be one; characters that no tool's name has
        become underscores."""
        name = name.strip().strip("\"'`")
        for decoration in ("functions.", "function.", "tools.", "functions/", "functions:"):
            bare = name.removeprefix(decoration)
            if bare != name and name not in self.tools and (declared(self.tools, bare) or not self.tentative):
                return self.resolve(bare)
        usual = _UNUSUAL.sub("_", name)
        found = declared(self.tools, name) or declared(self.tools, usual)
        bare = _NAMESPACE.sub("", name)
        if not found and (not self.tentative or name == f"{bare}.{bare}"):
            # A namespace that nobody declared (Gemma), or the tool's own name as one (Muse).
            found = declared(self.tools, bare)
        return found or (usual if not self.tentative and _NAME.match(name) else None)

    def signature(self, name: str) -> Signature:
        """The types of the tool's parameters; of an unknown tool, nothing is known."""
        return self.tools.get(name) or Signature({})

    def begin(self, name: str) -> None:
        """A call begins. `name` comes from `resolve`."""
        self.boundary(thinking=self.in_thinking)
        self._last_run = None
        self.source.release()
        self.calls += 1
        # What follows a declared tool's call in the same block is a call too, whatever its name.
        self.tentative = False
        self.in_call = True
        self._coercion = Coercion(self.signature(name).shape)
        self.events.append(ToolStart(self._new_id(), name))

    def argue(self, json: str) -> None:
        """A further fragment of the JSON text of the call's input, whose types may still be wrong."""
        if json and (right := self._coercion.feed(json)):
            self.events.append(ToolDelta(right))

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
            self._say(held)
        self._end_text()
