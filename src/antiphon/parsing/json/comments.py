"""Comments that models write between the members of an object, `// …` up to the end of the line or `/* … */`.

JSON has none, so they are read as white space. One that does not end, or has the end of the call in it, is none."""

from __future__ import annotations

from antiphon.parsing.splitter import Reading, Splitter

_ENDS = {"//": "\n", "/*": "*/"}
_LONGEST = 1000
"""No comment is longer: what seems the beginning of one must not be looked through again and again."""


def spaced(source: Splitter) -> Reading[str]:
    """Use up white space and the comments in it; returns the white space."""
    space = yield from source.space()
    while size := (yield from _comment(source, 0)):
        source.position += size
        space += yield from source.space()
    return space


def past_comments(source: Splitter, offset: int, quote: str) -> Reading[str]:
    """The character after the comments and the white space that begin `offset` characters ahead, none used up. What has
    the quote in it is no comment: it may be part of a string whose inner quotes are not escaped."""
    while True:
        space, following = yield from source.past_space(offset)
        offset += len(space)
        size = (yield from _comment(source, offset)) if following == "/" else 0
        if not size or quote in source.text[source.position + offset : source.position + offset + size]:
            return following
        offset += size


def _comment(source: Splitter, offset: int) -> Reading[int]:
    """The length of the comment that begins `offset` characters ahead; 0 where none does. The line break after one is
    no part of it."""
    if not (yield from source.stands("/", offset=offset)):
        return 0
    end = _ENDS.get((yield from source.ahead(offset + 2))[offset:])
    while end:
        start = source.position + offset
        text = source.text[start : start + _LONGEST]
        size = text.find(end, 2)
        if size >= 0:
            beyond = any(barrier in text[:size] for barrier in source.barriers)
            return 0 if beyond else size + len(end.strip())
        if source.ended or len(text) == _LONGEST:
            break
        yield
    return 0
