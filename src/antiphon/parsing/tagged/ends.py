"""Where a raw value ends: which of the tags in it are the model's own, and which belong to the text it writes."""

from __future__ import annotations

from typing import Protocol

from antiphon.parsing.splitter import Emit, Reading, Splitter, markers
from antiphon.parsing.tagged.tags import Tag, Tags, tag_here

FAR = 8000
"""How many characters after a call are looked through for a sign that it was the text of a value. Prose after a call
waits as long; a further call or the end of the output, which nearly always follows, decides at once."""


class Known(Protocol):
    """What is known of the call that the value belongs to."""

    def expects(self, parameter: str) -> bool:
        """Whether the parameter is declared and was not given yet."""


class Ending:
    """Reads one value. `scalar` says that no tag can be part of it."""

    def __init__(self, source: Splitter, tags: Tags, known: Known, *, scalar: bool) -> None:
        self._source, self._tags, self._known, self._scalar = source, tags, known, scalar
        self._depth = 0
        self._last = "\n"

    def read(self, emit: Emit) -> Reading[bool]:
        """Hand on the value's text; use up its closing tag, if it has one. Returns false where the output is over."""
        source, marks = self._source, self._tags.marks

        def pass_on(text: str) -> None:
            self._last = text[-1]
            emit(text)

        while True:
            begin = yield from source.until(marks, pass_on)
            if not begin:
                return False
            source.position -= len(begin)
            source.mark()
            tag = yield from tag_here(source, self._tags)
            if tag is not None and tag.kind == "cut":
                return False
            size = source.passed or len(begin)
            ends = tag is not None and (yield from self._ends(tag))
            source.rewind()
            if tag is not None and ends:
                source.position += size if tag.kind == "parameter_end" else 0
                return True
            pass_on(source.text[source.position : source.position + size])
            source.position += size

    def _ends(self, tag: Tag) -> Reading[bool]:
        """Whether this tag, just used up, ends the value. Keeps count of whole calls that stand in the value."""
        match tag.kind:
            case "parameter_end":
                return self._scalar or (yield from self._closes())
            case "parameter":
                name = tag.name or (yield from key_inside(self._source, self._tags))[0]
                return not self._depth and self._stands_alone and self._known.expects(name)
            case "call":
                if self._scalar:
                    return True
                self._depth += yield from self._begins_call()
                return False
            case "call_end" | "block_end":
                over = self._scalar or (self._stands_alone and (yield from self._over(prose=False)))
                self._depth -= 1 if self._depth and tag.kind == "call_end" else 0
                return over
            case _:
                return self._scalar and tag.kind == "block"

    @property
    def _stands_alone(self) -> bool:
        """Whether the tag stands where models put a tag, though the value's own is missing."""
        return self._tags.keyed or self._tags.begins != ("<",) or self._last == "\n"

    def _closes(self) -> Reading[bool]:
        source = self._source
        yield from source.space()
        if (yield from source.peek()) == "":
            return True
        following = yield from tag_here(source, self._tags)
        if following is None:
            return not self._depth and (yield from key_unopened(source, self._tags, self._known))
        if following.kind == "cut":
            return True
        if following.kind in ("call_end", "block_end"):
            return (yield from self._over(prose=True))
        return not self._depth and following.kind in ("parameter", "call", "block")

    def _over(self, prose: bool) -> Reading[bool]:
        """Whether the call is over where it seems to be, by what follows its end. `prose` may, unless there is a
        closing tag in it that would have to be the value's."""
        source = self._source
        while True:
            yield from source.space()
            if (yield from source.peek()) == "":
                return True
            tag = yield from tag_here(source, self._tags)
            if tag is None:
                return prose and not self._depth and not (yield from self._closer_ahead())
            if tag.kind == "cut":
                return True
            if tag.kind not in ("call_end", "block_end"):
                return not self._depth and tag.kind in ("call", "block")

    def _closer_ahead(self) -> Reading[bool]:
        source, marks = self._source, self._tags.marks
        start = source.passed
        while source.passed - start < FAR:
            match = marks.find(source.text, source.position)
            if match is None:
                source.position = max(source.position, len(source.text) - marks.longest + 1)
                if source.ended:
                    return False
                yield
                continue
            source.position = match.start()
            if source.passed - start >= FAR:
                return False
            tag = yield from tag_here(source, self._tags)
            if tag is None:
                source.position += 1
            elif tag.kind in ("call", "block"):
                return False
            elif tag.kind == "parameter_end":
                yield from source.space()
                if (yield from source.peek()) == "" or (yield from tag_here(source, self._tags)) is not None:
                    return True
        return False

    def _begins_call(self) -> Reading[bool]:
        """Whether the tag, just used up, begins a call that is written out."""
        if self._tags.named_inside:
            yield from name_inside(self._source, self._tags)
        yield from self._source.space()
        following = yield from tag_here(self._source, self._tags)
        return following is not None and following.kind in ("parameter", "call_end", "value")


def name_inside(source: Splitter, tags: Tags) -> Reading[str]:
    """The text that names a call, up to the end of the line or a tag."""
    parts: list[str] = []
    yield from source.space()
    found = yield from source.until(markers("\n", "{", *(begin[0] for begin in tags.begins)), parts.append)
    source.position -= len(found)
    return "".join(parts).strip()


def key_inside(source: Splitter, tags: Tags) -> Reading[tuple[str, str]]:
    """The text that names a parameter and what is said of its value's type, with the tags up to the value."""
    key, hint, ended = (yield from _between(source, tags)), "", False
    while True:
        space = yield from source.past_space()
        source.position += len(space[0]) if space[1] == "<" else 0
        tag = yield from tag_here(source, tags)
        if tag is None or tag.kind == "value":
            break
        if tag.kind == "type":
            hint = "string" if (yield from _between(source, tags)) in ("string", "str") else "json"
            yield from tag_here(source, tags)
        elif tag.kind == "parameter" and not key:
            # Written twice, as the end of a key is now and then.
            key = yield from _between(source, tags)
        elif tag.kind == "key_end" or (tag.kind == "parameter_end" and not ended):
            ended = True
        else:
            break
    return key, hint


def key_unopened(source: Splitter, tags: Tags, known: Known) -> Reading[bool]:
    """Whether a parameter's name stands here that lost its opening tag, as in GLM 4.7 now and then. It is not used up;
    a mark must be set."""
    if not tags.keyed:
        return False
    start = source.passed
    key, _ = yield from source.past(lambda character: character not in "<\n")
    source.position += len(key)
    yield from source.space()
    tag = yield from tag_here(source, tags)
    source.return_to(start)
    return tag is not None and tag.kind == "key_end" and known.expects(key.strip())


def _between(source: Splitter, tags: Tags) -> Reading[str]:
    """The text up to the next tag."""
    parts: list[str] = []
    found = yield from source.until(tags.marks, parts.append)
    source.position -= len(found)
    return "".join(parts).strip()
