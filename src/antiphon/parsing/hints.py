"""Calls in the midst of prose, for models that forget their markers: texts that a JSON call may begin with."""

from __future__ import annotations

from antiphon.parsing.formats import Read
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

LIST_HINT = "[{"
HINTS = ('{"name"', '{"type": "function"', '{"function"', "```json")
"""Texts in the midst of prose that a call may begin with, when a model forgets its markers."""


def hinted(read: Read) -> Read:
    """A reader that takes calls after one of the hints as well as after an opener."""

    def read_hinted(reader: Reader, opener: str) -> Reading[bool]:
        if opener not in (*HINTS, LIST_HINT):
            return (yield from read(reader, opener))
        source = reader.source
        if opener != "```json":
            source.position -= len(opener)
            return (yield from read(reader, ""))
        found = yield from read(reader, "")
        if found:
            yield from source.space()
            yield from source.accept("```")
        return found

    return read_hinted
