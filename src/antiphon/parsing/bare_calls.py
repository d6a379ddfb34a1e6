"""A reply whose whole text is a call object, or a list of them, without any of its format's markers.

Small models forget the markers. Such a reply is the call if the tools it names are declared and nothing else is said;
a fence around it is markup, and so is a closing marker of the format that was not forgotten. With a word before or
after it, it is text. So the text waits as long as it may be one.
"""

from __future__ import annotations

from antiphon.api.events import AnyEvent, TextDelta, ThinkingDelta
from antiphon.parsing.json import lenient
from antiphon.parsing.json.calls import ARGUMENT_KEYS, NAME_KEYS
from antiphon.parsing.json.strings import LONGEST, plain_string
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

_FENCE = "```"
_ASIDES = ("type", "id", "tool_call_id")
"""What else a call object may say, each in a short text."""


class BareCalls:
    """Looks at the events of a reply on their way out. `reader` is a new one with the reply's tools, `closers` are the
    markers that may stand after a call."""

    def __init__(self, reader: Reader, closers: tuple[str, ...]) -> None:
        self._reader, self._closers = reader, closers
        # Only declared names make a call here.
        reader.tentative = True
        self._held: list[AnyEvent] = []
        self._calls: list[tuple[str, str]] = []
        self._run = self._read()
        self.possible = bool(reader.tools)
        """Whether the reply may still be such a one."""
        self.calls = 0
        """How many calls the reply, now over, turned out to be."""

    @property
    def holds(self) -> bool:
        """Whether text waits for what will become of it."""
        return bool(self._held)

    def passed(self, events: list[AnyEvent]) -> list[AnyEvent]:
        """Of these further events, and of those that were held, the ones that are certainly no part of a bare call."""
        passed: list[AnyEvent] = []
        for index, event in enumerate(events):
            if isinstance(event, ThinkingDelta) and not self._held:
                passed.append(event)
            elif isinstance(event, TextDelta) and self._goes_on(event.text):
                self._held.append(event)
            else:
                return [*passed, *self.released(), *events[index:]]
        return passed

    def _goes_on(self, text: str) -> bool:
        self._reader.source.feed(text)
        return next(self._run, False) is None

    def released(self) -> list[AnyEvent]:
        """What was held: the reply is not such a one."""
        self.possible = False
        held, self._held = self._held, []
        return held

    def finish(self) -> list[AnyEvent]:
        """The reply is over: the calls that it is, or else what was held."""
        self._reader.source.ended = True
        try:
            next(self._run)
        except StopIteration as over:
            if over.value:
                self.possible, self.calls = False, len(self._calls)
                for name, arguments in self._calls:
                    self._reader.call(name, arguments)
                return self._reader.events
        return self.released()

    def _read(self) -> Reading[bool]:
        """Returns false as soon as the text can be none, and true at its end if it is one."""
        source = self._reader.source
        yield from source.space()
        fenced = yield from source.accept(f"{_FENCE}json", _FENCE)
        yield from source.space()
        listed = yield from source.accept("[")
        while True:
            yield from source.space()
            if not (yield from self._call()):
                return False
            yield from source.space()
            if not listed or not (yield from source.accept(",")):
                break
        for closing in ("]" if listed else "", _FENCE if fenced else ""):
            yield from source.space()
            if closing and not (yield from source.accept(closing)):
                return False
        yield from source.space()
        while (yield from source.accept(*self._closers)):
            yield from source.space()
        return (yield from source.peek()) == ""

    def _call(self) -> Reading[bool]:
        members: dict[str, str] = {}
        if not (yield from self._members(members)) or members.keys() != {"name", "arguments"}:
            return False
        self._calls.append((members["name"], members["arguments"]))
        return True

    def _members(self, members: dict[str, str]) -> Reading[bool]:
        """The members of the object that begins here. `members` takes the `name` of the tool and its `arguments`."""
        source = self._reader.source
        if not (yield from source.accept("{")):
            return False
        while True:
            yield from source.space()
            key = yield from self._short(":")
            yield from source.space()
            if key is None or not (yield from source.accept(":")):
                return False
            yield from source.space()
            if not (yield from self._member(key, members)):
                return False
            yield from source.space()
            if (yield from source.accept("}")):
                return True
            if not (yield from source.accept(",")):
                return False

    def _member(self, key: str, members: dict[str, str]) -> Reading[bool]:
        """The value of a member. Returns whether a call object may have it."""
        if key == "function" and (yield from self._reader.source.peek()) == "{":
            return (yield from self._members(members))
        if key in ARGUMENT_KEYS and "arguments" not in members:
            members["arguments"] = yield from self._arguments()
            return members["arguments"] != ""
        text = yield from self._short(",}")
        if text is None or key not in (*NAME_KEYS, "function") or "name" in members:
            return text is not None and key in _ASIDES
        name = self._reader.resolve(text)
        members["name"] = name or ""
        return name is not None

    def _arguments(self) -> Reading[str]:
        """The arguments that begin here, an object or one that is written as a string; empty where none is."""
        source, parts = self._reader.source, list[str]()
        quote = yield from source.accept('"', "'")
        if quote:
            text = yield from plain_string(source, quote, ",}")
            json, complete = lenient.whole(text or "")
            return json if complete and json.startswith("{") else ""
        if (yield from source.peek()) != "{":
            return ""
        try:
            complete = yield from lenient.value(source, parts.append)
        except lenient.Broken:
            return ""
        return "".join(parts) if complete else ""

    def _short(self, followers: str) -> Reading[str | None]:
        """The short string that begins here, or None."""
        quote = yield from self._reader.source.accept('"', "'")
        return (yield from plain_string(self._reader.source, quote, followers, LONGEST)) if quote else None
