"""Reads calls written as Python, `[f(a='x', b=1), g()]`, and hands on their arguments as strict JSON, as they come.

Only constants are read: what would have to be computed makes no call. A quote ends a string only where Python could go
on after it, so that an inner quote the model forgot to escape does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from antiphon.constraint import Either, Json, Literal, Node, Sequence, closed
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Read
from antiphon.parsing.json.calls import block, further
from antiphon.parsing.json.lenient import Broken, Prefixed, quoted
from antiphon.parsing.python.values import ARGUMENT, CONSTANTS, in_keyword, value
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, Splitter

_NAME = re.compile(r"[\w.\-]+")
_QUOTED = {quote: re.compile(rf"[^{quote}\n]+") for quote in "\"'"}


def calls(reader: Reader, *closes: str, brackets: bool = True) -> Reading[bool]:
    """Read calls, in brackets or (unless `brackets` are demanded) without, up to one of the closing markers, which may
    be missing. Returns whether there was any; if not, nothing was begun."""
    source = reader.source
    source.barriers = closes
    yield from source.space()
    opened = (yield from source.accept("[")) != ""
    found = (opened or not brackets) and (yield from call(reader))
    while found:
        space, following = yield from source.past_space()
        if following in (",", ";") or (following == "[" and closes):
            yield from source.space()
            source.position += 1
            continue
        if following == "]":
            yield from source.space()
            source.position += 1
            if not closes:
                break
            continue
        if not (opened or "\n" in space or closes) or not (yield from further(reader, call)):
            break
    if closes:
        yield from source.space()
        # An empty list calls nothing, in so many words.
        empty = opened and not found and (yield from source.accept("]")) != ""
        yield from source.space()
        ended = yield from source.accept(*closes)
        found = found or (empty and ended != "")
    source.barriers = ()
    return found


def python_block(*closes: str, brackets: bool = True) -> Read:
    """A reader of Python calls, or of the JSON objects that some models write in their place."""
    objects = block(*closes)

    def read(reader: Reader, opener: str) -> Reading[bool]:
        space, first = yield from reader.source.past_space()
        if first == "[":
            _, first = yield from reader.source.past_space(len(space) + 1)
        if first == "{":
            return (yield from objects(reader, ""))
        return (yield from calls(reader, *closes, brackets=brackets))

    return read


def call_grammar(name: str, schema: dict[str, Any]) -> Node:
    """The grammar of one call: what is required first, then what is not, each in the order of the schema."""
    signature = Signature(schema)
    required = schema.get("required")
    needed, optional = list[Node](), list[Node]()
    for parameter in signature.parameters():
        argument = Sequence((Literal(f"{parameter}="), Json(closed(signature.standing(parameter)))))
        (needed if isinstance(required, list) and parameter in required else optional).append(argument)
    nodes: list[Node] = [Literal(f"{name}(")]
    for index, each in enumerate(needed):
        nodes += [Literal(", "), each] if index else [each]
    nodes.append(_optional(optional) if needed else _some(optional))
    return Sequence((*nodes, Literal(")")))


def _optional(arguments: list[Node]) -> Node:
    """Any of these, in order, after an argument."""
    return Sequence(tuple(Either((Sequence((Literal(", "), each)), Literal(""))) for each in arguments))


def _some(arguments: list[Node]) -> Node:
    """Any of these, in order, where no argument stands yet."""
    starts = [Sequence((each, _optional(arguments[at + 1 :]))) for at, each in enumerate(arguments)]
    return Either((*starts, Literal("")))


class _Arguments:
    """The arguments of a call as far as they have been read. The call begins with the first of them that does."""

    def __init__(self, reader: Reader, name: str) -> None:
        self.reader = reader
        self.name = name
        self.begun = False

    def emit(self, json: str) -> None:
        if not self.begun:
            self.begun = True
            self.reader.begin(self.name)
        self.reader.argue(json)

    def settle(self, complete: bool) -> bool:
        self.emit("}" if self.begun else "{}")
        self.reader.finish(complete)
        return True


def call(reader: Reader) -> Reading[bool]:
    """Read one call that begins here. Returns whether it was one; if not, nothing was begun."""
    source = reader.source
    yield from source.space()
    written = yield from source.run(_NAME)
    if not written or not (yield from source.accept("(")):
        return False
    name = reader.resolve(written if written in reader.tools else written.removesuffix(".call"))
    if name is None:
        return False
    arguments = _Arguments(reader, name)
    places = iter(reader.signature(name).parameters())
    while True:
        yield from source.space()
        following = yield from source.peek()
        if following == ")":
            source.position += 1
            return arguments.settle(True)
        if following == ",":
            source.position += 1
            continue
        complete = yield from _argument(source, arguments, places, positional=following not in ("", "*"))
        if not complete:
            cut = (yield from source.peek()) == ""
            if arguments.begun:
                # Something to be computed. What was read so far has been handed on.
                yield from _skip(source)
            return arguments.begun and arguments.settle(not cut)


def _argument(source: Splitter, arguments: _Arguments, places: Iterator[str], positional: bool) -> Reading[bool]:
    """One argument; without a name, the one for the next of the places. Returns whether it could be read whole."""
    key = yield from _keyword(source)
    if key == "" and positional:
        key = next(places, "")
    before = ", " if arguments.begun else "{"
    try:
        return key != "" and (yield from value(source, Prefixed(f"{before}{quoted(key)}: ", arguments.emit), ARGUMENT))
    except Broken:
        return False


def _skip(source: Splitter) -> Reading[None]:
    """Use up the rest of a call that cannot be read, up to its closing parenthesis or the end of the line."""
    depth = 0
    while (character := (yield from source.peek())) and not (character == "\n" and not depth):
        source.position += 1
        if character in _QUOTED:
            yield from source.run(_QUOTED[character])
            yield from source.accept(character)
        elif character in "([{":
            depth += 1
        elif character == ")" and not depth:
            return
        elif character in ")]}":
            depth = max(depth - 1, 0)


def _keyword(source: Splitter) -> Reading[str]:
    """The name before an equals sign, both used up; empty, and nothing used up, where none stands."""
    word, _ = yield from source.past(in_keyword)
    space, following = yield from source.past_space(len(word))
    if following == "":
        source.position += len(word)
    if not word or following != "=" or word in CONSTANTS:
        return ""
    end = len(word) + len(space) + 1
    if (yield from source.ahead(end + 1))[end:] == "=":
        return ""
    source.position += end
    return word
