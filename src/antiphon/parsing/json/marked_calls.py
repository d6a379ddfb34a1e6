"""Calls between tokens of their own, in sections that have tokens too: Kimi K2, Solar Open, DeepSeek V3 and V3.1."""

from __future__ import annotations

from collections.abc import Callable

from antiphon.parsing.formats import Read
from antiphon.parsing.json.calls import further, named_call
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, markers

FAR = 120
"""How many characters of idle talk between the section's opening marker and the first call's are passed over."""


def sections(
    *,
    opens: tuple[str, ...],
    calls: tuple[str, ...],
    ends: tuple[str, ...],
    barriers: tuple[str, ...],
    read_call: Callable[[Reader], Reading[bool]],
) -> Read:
    """A reader of sections of calls, and of calls outside of one. `opens` and `ends` are the spellings of a section's
    markers, `calls` those of the marker before every call, which `read_call` goes on after; it uses up the closing
    marker. No JSON goes beyond `barriers`. Closing markers may be missing; a section of no calls is markup all the
    same."""
    found_call = markers(*calls)

    def marked(reader: Reader) -> Reading[bool]:
        source = reader.source
        yield from source.space()
        return bool((yield from source.accept(*calls))) and (yield from read_call(reader))

    def first(reader: Reader) -> Reading[bool]:
        source = reader.source
        yield from source.space()
        if not (yield from source.stands(*calls, *ends)):
            ahead = yield from source.ahead(FAR)
            call = found_call.find(ahead, 0)
            source.position += call.start() if call else 0
        return (yield from marked(reader))

    def read(reader: Reader, opener: str) -> Reading[bool]:
        source = reader.source
        source.barriers = barriers
        found = yield from read_call(reader) if opener in calls else first(reader)
        while found and (yield from further(reader, marked)):
            pass
        yield from source.space()
        ended = yield from source.accept(*ends)
        source.barriers = ()
        return found or (ended != "" and opener in opens)

    return read


def marked_input(reader: Reader, name: str | None, opens: str, closes: str) -> Reading[bool]:
    """The input of a call whose name was read, between two markers that may be missing. There is no call, and nothing
    has begun, where no tool has the name or neither the marker nor an object follows."""
    source = reader.source
    yield from source.space()
    marked = yield from source.accept(opens)
    if name is None or not (marked or (yield from source.peek()) == "{"):
        return False
    yield from named_call(reader, name)
    yield from source.space()
    yield from source.close(closes)
    return True
