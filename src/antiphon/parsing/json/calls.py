"""Calls written as JSON objects: `{"name": …, "arguments": {…}}`, in any key order, with the spellings models use."""

from __future__ import annotations

import re
from collections.abc import Callable

from antiphon.parsing.formats import Read
from antiphon.parsing.json import lenient
from antiphon.parsing.json.comments import spaced
from antiphon.parsing.json.strings import LONGEST, TooLong, gathering, nowhere, plain_string, short
from antiphon.parsing.reader import Reader, declared
from antiphon.parsing.splitter import Reading, Splitter

NAME_KEYS = ("name", "tool_name", "tool", "function_name")
_NAME = re.compile(r"[\w.:/\-]+")
ARGUMENT_KEYS = ("arguments", "parameters", "input", "args", "params", "tool_input", "kwargs")


class _Call:
    """A call as far as it has been read. Arguments that come before the name wait for it. `beside` are the other
    members of its object, which are the arguments where they have no object of their own."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.name: str | None = None
        self.begun = False
        self.waiting: list[str] = []
        self.beside: list[tuple[str, str]] = []
        # Where it is uncertain that this is a call, the text must not wait long.
        self.idle = short() if reader.tentative else nowhere

    @property
    def has_arguments(self) -> bool:
        """Whether the arguments have come. The first object counts; a second one would spoil the JSON."""
        return self.begun or bool(self.waiting)

    def emit(self, json: str) -> None:
        if self.name is None:
            self.waiting.append(json)
            return
        if not self.begun:
            self.begun = True
            self.reader.begin(self.name)
            for earlier in self.waiting:
                self.reader.argue(earlier)
        self.reader.argue(json)

    def settle(self, complete: bool) -> bool:
        """The object is over: a name makes it a call, though it had no arguments."""
        if self.name is None and not self._keyed():
            return False
        if not self.begun:
            self.emit("" if self.waiting else self._flattened())
        self.reader.finish(complete)
        return True

    def _keyed(self) -> bool:
        """Whether the object is `{"f": {…}}` where a call is certain: its one key names a tool, its value is the
        arguments."""
        if self.reader.tentative or self.waiting or len(self.beside) != 1:
            return False
        [(key, json)] = self.beside
        self.name = declared(self.reader.tools, key) if json.startswith("{") else None
        if self.name:
            self.emit(json)
        return self.begun

    def _flattened(self) -> str:
        """The input that is written beside the name: of the members there, those that are parameters of the tool."""
        signature = self.reader.signature(self.name or "")
        written = [(signature.named(key), json) for key, json in self.beside]
        parameters = signature.parameters()
        return "{" + ",".join(f"{lenient.quoted(key)}:{json}" for key, json in written if key in parameters) + "}"


def call_object(reader: Reader) -> Reading[bool]:
    """Read one call object that begins here. Returns whether it was a call; if not, nothing was begun."""
    yield from reader.source.space()
    if not (yield from _object_here(reader.source)):
        return False
    call = _Call(reader)
    complete = yield from _members(reader.source, call)
    if complete is None and not call.begun:
        return False
    return call.settle(complete or (yield from _goes_on(reader.source)))


def _object_here(source: Splitter) -> Reading[bool]:
    """Whether an object begins here. Of two braces, as templates show them that escape them (Qwen2.5), one is dropped;
    the closing ones count as braces too many."""
    if (yield from source.stands("{{")):
        source.position += 1
    return (yield from source.peek()) == "{"


def _goes_on(source: Splitter) -> Reading[bool]:
    """Whether there is more text: then a call that is not closed was not cut, and counts as mended."""
    return (yield from source.peek()) != ""


def _members(source: Splitter, call: _Call) -> Reading[bool | None]:
    """The members of the object that begins here. True when it was closed, false when it broke off (in the
    arguments or after them), None when it cannot be a call."""
    source.position += 1
    settled = False
    while True:
        yield from spaced(source)
        character = yield from source.next()
        if character == ",":
            continue
        if character == "}":
            return True
        if character not in ('"', "'"):
            source.position -= len(character)
            return settled if call.name is not None else None
        key = yield from plain_string(source, character, ":", LONGEST if call.name is None else 1 << 30)
        yield from source.space()
        if key is None or not (yield from source.accept(":")):
            return settled if call.name is not None else None
        yield from source.space()
        outcome = yield from _member(source, call, key)
        if outcome is None:
            return None
        if not outcome:
            return False
        settled = settled or key in ARGUMENT_KEYS


def _member(source: Splitter, call: _Call, key: str) -> Reading[bool | None]:
    first = yield from source.peek()
    if call.name is None and (key in NAME_KEYS or (key == "function" and first != "{")):
        if first not in ('"', "'"):
            return None
        source.position += 1
        written = yield from plain_string(source, first, ",}", LONGEST)
        call.name = None if written is None else call.reader.resolve(written)
        return None if call.name is None else True
    if key == "function" and first == "{":
        return (yield from _members(source, call))
    if key in ARGUMENT_KEYS and not call.has_arguments:
        return (yield from _arguments(source, call, first, key))
    return (yield from _beside(source, call, key))


def _beside(source: Splitter, call: _Call, key: str) -> Reading[bool | None]:
    """A member that is neither the name nor the arguments."""
    parts: list[str] = []
    try:
        complete = yield from lenient.value(source, gathering(parts, nowhere if call.name else call.idle))
    except (lenient.Broken, TooLong):
        return None
    call.beside.append((key, "".join(parts)))
    return complete


def _arguments(source: Splitter, call: _Call, first: str, key: str) -> Reading[bool | None]:
    try:
        if (yield from _object_here(source)):
            return (yield from lenient.value(source, call.emit))
        if first in ('"', "'"):
            # An object written as a string: read it once more.
            source.position += 1
            text = yield from plain_string(source, first, ",}")
            inner, complete = lenient.whole(text or "")
            if inner.startswith("{"):
                call.emit(inner)
            elif text is not None:
                call.beside.append((key, lenient.quoted(text)))
            return complete and text is not None
        return (yield from _beside(source, call, key))
    except lenient.Broken:
        return False if call.begun else None


def call_list(reader: Reader) -> Reading[bool]:
    """Read an array of call objects, or one bare object. Returns whether there was any call."""
    source = reader.source
    yield from source.space()
    if (yield from source.peek()) != "[":
        return (yield from call_object(reader))
    source.position += 1
    any_call = False
    while True:
        yield from source.space()
        if (yield from source.accept("]")) or (yield from source.peek()) == "":
            return any_call
        if (yield from source.accept(",")):
            continue
        if not (yield from further(reader, call_object) if any_call else call_object(reader)):
            return any_call
        any_call = True


def further(reader: Reader, read: Callable[[Reader], Reading[bool]]) -> Reading[bool]:
    """One more of what `read` reads, after a call. What is none is left where it is."""
    reader.source.mark()
    found = yield from read(reader)
    if found:
        reader.source.release()
    else:
        reader.source.rewind()
    return found


def block(*closes: str) -> Read:
    """A reader of what stands between a format's opening and closing markers: a list of call objects, one, or (from
    models that learned it otherwise) several. The closing marker may be missing. Without closing markers, objects are
    read as long as they follow one another."""

    def read(reader: Reader, opener: str) -> Reading[bool]:
        source = reader.source
        source.barriers = closes
        yield from source.space()
        fence = bool(opener) and (yield from source.accept("```json", "```")) != ""
        found = (bool(opener) and (yield from _empty_list(source))) or (yield from call_list(reader))
        while found:
            # A stray bracket too many, or a further object in the same block.
            yield from source.space()
            if (yield from source.accept("}", "]")) or (yield from _separator(source)):
                continue
            if (yield from source.peek()) not in ("{", "[") or not (yield from further(reader, call_list)):
                break
        if found:
            if fence:
                yield from source.accept("```")
                yield from source.space()
            yield from source.close(*closes)
        source.barriers = ()
        return found

    return read


def _empty_list(source: Splitter) -> Reading[bool]:
    """Use up an empty list: nothing is called, in so many words."""
    space, bracket = yield from source.past_space()
    if bracket != "[":
        return False
    inner, closing = yield from source.past_space(len(space) + 1)
    if closing != "]":
        return False
    source.position += len(space) + len(inner) + 2
    return True


def _separator(source: Splitter) -> Reading[bool]:
    """Use up a comma or semicolon if a further call may follow it."""
    if (yield from source.peek()) not in (",", ";"):
        return False
    _, following = yield from source.past_space(1)
    if following not in ("{", "["):
        return False
    source.position += 1
    return True


def named_call(reader: Reader, name: str) -> Reading[bool]:
    """The call of this tool, of which the arguments follow as an object. Where none follows, the call has none.
    Returns whether the arguments were complete."""
    call = _Call(reader)
    call.name = name
    yield from reader.source.space()
    first = yield from reader.source.peek()
    complete: bool | None = first != ""
    if first and first in "{\"'":
        complete = yield from _arguments(reader.source, call, first, "")
    complete = complete or (yield from _goes_on(reader.source))
    call.settle(complete)
    while complete:
        _, following = yield from reader.source.past_space()
        if following != "}":
            break
        # A brace too many.
        yield from reader.source.space()
        reader.source.position += 1
    return complete


def written_name(source: Splitter) -> Reading[str]:
    """The name that stands here, with the characters that models decorate names with."""
    return (yield from source.run(_NAME))
