"""Calls written in tags, one parameter after the other, with the values as raw text between.

Values are not escaped, so a value may hold the family's own closing tags. A closing tag counts as one only if what
follows it fits: a further parameter, the end of the call, the end of the output. Models leave tags out, so the
end of the call ends a value as well. What cannot be told apart is taken as the model's own tag.
"""

from __future__ import annotations

from collections.abc import Callable

from antiphon.parsing.formats import Read
from antiphon.parsing.json import lenient
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, Splitter
from antiphon.parsing.tagged.ends import Ending, key_inside, key_unopened, name_inside
from antiphon.parsing.tagged.tags import Tag, Tags, tag_here
from antiphon.parsing.tagged.values import Input, Value

ReadValue = Callable[[Splitter, Input, str], Reading[bool]]
"""Reads the value of a parameter after its tag, in which it has this name. Returns whether it was closed."""

Wrap = Callable[[Value], Value]

WHOLE = ("arguments", "input", "parameters", "args", "properties")
"""Names under which models write the whole input as if it were one parameter."""


def tagged(
    tags: Tags,
    *,
    otherwise: Read | None = None,
    plain: tuple[str, ...] = (),
    wrap: Wrap | None = None,
    value: ReadValue | None = None,
) -> Read:
    """The reader of a family. `otherwise` reads a block in which no tag stands. A call that begins with one of the
    `plain` openers has no block around it: only a declared name makes one. `wrap` takes markup off values; `value`
    reads them where they are more than text."""

    def read(reader: Reader, opener: str) -> Reading[bool]:
        source = reader.source
        source.position -= len(opener)
        calls = _Calls(reader, tags, wrap, value)
        first = yield from tag_here(source, tags)
        if first is None:
            return False
        if first.kind == "call" and not tags.named_inside:
            calls.sure = opener not in plain
            return (yield from calls.read(first))
        if otherwise and (yield from source.past_space())[1] in ("{", "["):
            return (yield from otherwise(reader, opener))
        return (yield from calls.read(first))

    return read


def parameters(reader: Reader, tags: Tags, name: str, wrap: Wrap) -> Reading[None]:
    """Read the call of this tool whose parameters follow, up to its end."""
    reader.begin(name)
    reader.finish((yield from _Calls(reader, tags, wrap, None).body(Input(reader, name), None)))


class _Calls:
    """Reads the calls of one block."""

    def __init__(self, reader: Reader, tags: Tags, wrap: Wrap | None, value: ReadValue | None) -> None:
        self.reader, self.source, self.tags = reader, reader.source, tags
        self.wrap, self.value = wrap, value
        self.sure = True
        self.any = False

    def read(self, tag: Tag) -> Reading[bool]:
        """The calls from this tag on, which was used up. After the first call, what is none is left standing."""
        source = self.source
        following: Tag | None = tag
        while following is not None:
            if following.kind == "call":
                if not (yield from self._call(following)):
                    break
                self.any = True
            elif following.kind == "cut" and self.any:
                return True
            elif following.kind == "block" and self.any and (yield from source.past_space())[1] in ("{", "["):
                # A further block, written in JSON: a matter for a reader of its own.
                break
            elif following.kind in ("parameter", "json") or (not self.any and following.kind != "block"):
                break
            if self.any:
                source.release()
            yield from source.space()
            if self.any:
                source.mark()
            while self.tags.between and (yield from source.accept(*self.tags.between)):
                yield from source.space()
            after_block = following.kind == "block"
            following = yield from tag_here(source, self.tags)
            if following is None and after_block:
                following = yield from self._misspelt()
        # A further call that broke off in its name is no text either.
        if self.any and (following is None or (yield from source.peek()) != ""):
            source.rewind()
        return self.any

    def _misspelt(self) -> Reading[Tag | None]:
        """The tag of a declared tool's call that stands here in a spelling that is none of the family's, used up."""
        for name in self.reader.tools:
            for spelling in self.tags.misspelt:
                if (yield from self.source.accept(spelling.format(name))):
                    self.tags = self.tags.closed_by(name)
                    return Tag("call", name)
        return None

    def _call(self, tag: Tag) -> Reading[bool]:
        reader, source = self.reader, self.source
        written = tag.name
        if self.tags.named_inside:
            written = yield from self._name_inside()
        following = "" if tag.empty else (yield from source.past_space())[1]
        first: Tag | None = None
        if following and following != "{":
            yield from source.space()
            first = yield from self._first(written)
            if not (yield from self._goes_on(first)):
                return False
        cut = first.kind == "cut" if first else not following and not tag.empty
        name = self._resolve(written, cut)
        if name is None:
            return False
        reader.begin(name)
        input = Input(reader, name)
        complete = True if tag.empty else (yield from self.body(input, first))
        reader.finish(complete)
        return True

    def _name_inside(self) -> Reading[str]:
        """The call's name, which is text. A key that stands behind it without an opening tag is left standing."""
        source = self.source
        written = yield from name_inside(source, self.tags)
        start = source.passed
        tag = yield from tag_here(source, self.tags)
        source.return_to(start)
        if tag is None or tag.kind != "key_end":
            return written
        for name in sorted(self.reader.tools, key=len, reverse=True):
            key = written.removeprefix(name).strip()
            if written.startswith(name) and key in self.reader.signature(name).parameters():
                source.position = source.text.rindex(key, 0, source.position)
                return name
        return written

    def _first(self, written: str) -> Reading[Tag | None]:
        """The tag that the call of this name goes on with. A key's may be missing, or another call's in its place."""
        tag = yield from tag_here(self.source, self.tags)
        while tag is not None and tag.kind == "call" and tag.name == written and not tag.empty:
            # Written twice.
            yield from self.source.space()
            tag = yield from tag_here(self.source, self.tags)
        if tag is None or tag.kind == "call":
            unopened = yield from key_unopened(self.source, self.tags, Input(self.reader, written))
            return Tag("parameter") if unopened else tag
        return tag

    def _goes_on(self, first: Tag | None) -> Reading[bool]:
        """Whether a call may go on with this tag, or with what stands here where there is none."""
        if first is None:
            start = self.source.passed
            unopened = yield from self._unopened()
            self.source.return_to(start)
            return unopened is not None
        return first.kind in ("parameter", "json", "value", "call_end", "block_end", "cut")

    def _resolve(self, written: str, cut: bool) -> str | None:
        """The tool of this name. Without a block around it, or with nothing after it, it must be a declared one."""
        reader = self.reader
        before = reader.tentative
        reader.tentative = before or not self.sure or cut
        name = reader.resolve(written)
        reader.tentative = before
        return name

    def body(self, input: Input, tag: Tag | None) -> Reading[bool]:
        """The parameters, and the end of the call. Returns whether the end came."""
        source = self.source
        if tag is None and (yield from source.past_space())[1] == "{":
            return (yield from self._json(input))
        while True:
            if tag is None:
                yield from source.space()
                source.mark()
                tag = yield from tag_here(source, self.tags)
                if tag is None and (yield from key_unopened(source, self.tags, input)):
                    tag = Tag("parameter")
                elif tag is None and (unopened := (yield from self._unopened())) is not None:
                    source.release()
                    if unopened[0]:
                        input.whole(*unopened)
                    continue
                if tag is None or tag.kind in ("call", "block", "block_end"):
                    source.rewind()
                    input.close()
                    return tag is not None or (yield from source.peek()) != ""
                source.release()
            match tag.kind:
                case "call_end" | "block_end" | "cut":
                    input.close()
                    return tag.kind != "cut"
                case "json":
                    return (yield from self._json(input))
                case "parameter":
                    whole = yield from self._parameter(input, tag)
                    if whole is not None:
                        return whole
            tag = None

    def _unopened(self) -> Reading[tuple[str, str] | None]:
        """The name and the text of a parameter that lost its opening tag, as the first one of every call does in some
        checkpoints of MiniMax M3: the closing tag tells the name. One that the output breaks off in has no name. None
        where none stands here."""
        source, parts = self.source, list[str]()
        if not self.tags.named_at_end or not (yield from source.accept(*self.tags.begins)):
            return None
        found = yield from source.until(self.tags.marks, parts.append)
        source.position -= len(found)
        end = yield from tag_here(source, self.tags)
        if not found or (end is not None and end.kind == "cut"):
            return "", ""
        if end is None or end.kind != "parameter_end":
            return None
        return end.name, "".join(parts)

    def _json(self, input: Input) -> Reading[bool]:
        """The whole input as one JSON object."""
        source = self.source
        try:
            complete = yield from lenient.value(source, input.verbatim)
        except lenient.Broken:
            complete = False
            input.close()
        return complete

    def _parameter(self, input: Input, tag: Tag) -> Reading[bool | None]:
        """One parameter after its tag. When it turns out to be the whole input, or the output to be over, whether
        the call is complete; else None."""
        source, written, hint = self.source, tag.name, tag.hint
        if self.tags.keyed:
            written, hint = yield from key_inside(source, self.tags)
        name = input.signature.named(written)
        declared = input.signature.parameters()
        whole = name in WHOLE and declared and name not in declared and not input.names
        if whole and (yield from source.past_space())[1] == "{":
            return (yield from self._json(input))
        if tag.empty:
            return None
        input.names.add(name)
        closed = yield from (self.value(source, input, written) if self.value else self._text(input, name, hint))
        if not closed:
            input.close()
            return False
        return None

    def _text(self, input: Input, name: str, hint: str) -> Reading[bool]:
        value = input.value(name, hint)
        if self.wrap:
            value = self.wrap(value)
        closed = yield from Ending(self.source, self.tags, input, scalar=input.scalar(name)).read(value.feed)
        value.close(cut=not closed)
        return closed
