"""Finds the tags that a family writes its calls with: `<function=f>`, `<invoke name="f">`, `<arg_key>` and their like.

Models misspell them (spaces, other quotes, no quotes), so a tag is read up to its end and then matched, where all
tags of the family begin and end alike. What is no tag of the family is told from as few characters as possible,
because text waits for it.
"""

from __future__ import annotations

import html
import re
from typing import Literal, NamedTuple

import msgspec

from antiphon.parsing.splitter import Markers, Reading, Splitter, markers

Kind = Literal[
    "block",
    "block_end",
    "call",
    "call_end",
    "parameter",
    "parameter_end",
    "key_end",
    "type",
    "type_end",
    "value",
    "json",
    "cut",
]
"""What a tag is for. A block holds calls, a call parameters; `key_end` and `value` stand between a parameter's name
and its value where the name is text, perhaps with a `type` between; `json` opens a call's whole input; `cut` is the
beginning of a tag, which may be any, at the end of the output."""

LONGEST = 256
"""A tag longer than this is none."""

_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'/>|]+))""")


class Tag(NamedTuple):
    """A tag. `name` is the call's or parameter's; `hint` says what the tag tells of the value, `string` or `json`;
    `empty` that it closes itself."""

    kind: Kind
    name: str = ""
    hint: str = ""
    empty: bool = False


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    """How a family spells its tags.

    Every tag starts with one of `begins`, perhaps white space and a slash, one of `words`, and ends with `end`; none
    has a match of `broken` in it. `patterns` match whole tags; the first that does decides. Names stand in their group
    `name` or in an attribute. `unended` matches, with the line break after it, a tag that lost its end. `named_inside`
    says that a call's name is the text after its tag, `keyed` that a parameter's is, `named_at_end` that a parameter's
    closing tag repeats it. `misspelt` are tags of a call, with the tool's name in place of the braces, that count as
    one right after the block's, where the tool is declared. `escaped` says that attributes are written as in XML.
    `between` may stand between the tags of a block."""

    words: tuple[str, ...]
    patterns: tuple[tuple[Kind, re.Pattern[str]], ...]
    begins: tuple[str, ...] = ("<",)
    end: str = ">"
    broken: re.Pattern[str] = re.compile(r"[<\n]")
    unended: re.Pattern[str] | None = None
    named_inside: bool = False
    keyed: bool = False
    named_at_end: bool = False
    misspelt: tuple[str, ...] = ()
    escaped: bool = False
    between: tuple[str, ...] = ()

    @property
    def marks(self) -> Markers:
        """The beginnings, to look for."""
        return markers(*self.begins)

    def classify(self, text: str) -> Tag | None:
        """What this whole tag is."""
        for kind, pattern in self.patterns:
            found = pattern.fullmatch(text)
            if found:
                return self._tag(kind, text, found.groupdict().get("name"))
        return None

    def closed_by(self, name: str) -> Tags:
        """The same, where a tag of this name closes a call too."""
        end = re.compile(rf"<\s*/\s*{re.escape(name)}\s*>")
        return msgspec.structs.replace(self, words=(*self.words, name), patterns=(*self.patterns, ("call_end", end)))

    def without_end(self, text: str) -> str:
        """The tag that `text` begins with, up to a line break that stands in place of its end; empty where none is."""
        found = self.unended.match(text) if self.unended else None
        return found[0].rstrip("\n") if found else ""

    def _tag(self, kind: Kind, text: str, name: str | None) -> Tag:
        attributes: dict[str, str] = {}
        if kind in ("call", "parameter") and name is None:
            for key, *values in _ATTRIBUTE.findall(text):
                attributes[key] = "".join(values)
            name = next((value for key, value in attributes.items() if key.endswith(("name", "tool", "key"))), "")
        hint = {"true": "string", "false": "json"}.get(attributes.get("string", "").lower(), "")
        if "type" in attributes:
            hint = "string" if attributes["type"] == "string" else "json"
        name = (name or "").strip().strip("\"'")
        return Tag(kind, html.unescape(name) if self.escaped else name, hint, text.endswith("/" + self.end))


def tag_here(source: Splitter, tags: Tags) -> Reading[Tag | None]:
    """The tag that stands here, used up. None, and nothing used up, where none does."""
    while True:
        text = source.text[source.position : source.position + LONGEST]
        begin = next((begin for begin in tags.begins if text.startswith(begin)), "")
        if begin and (unended := tags.without_end(text)):
            source.position += len(unended)
            return tags.classify(unended + tags.end)
        if begin:
            end = text.find(tags.end, len(begin))
            if end >= 0:
                text = text[: end + len(tags.end)]
                found = None if tags.broken.search(text, len(begin)) else tags.classify(text)
                source.position += len(text) if found else 0
                return found
            if len(text) == LONGEST or tags.broken.search(text, len(begin)) or not _goes_on(tags, text[len(begin) :]):
                return None
        elif not any(each.startswith(text) for each in tags.begins):
            return None
        if source.ended:
            source.position += len(text)
            return Tag("cut") if text else None
        yield


def _goes_on(tags: Tags, body: str) -> bool:
    # The patterns allow white space of any kind anywhere but within a word.
    body = "".join(body.split()).lstrip("/")
    return not tags.words or any(word.startswith(body) or body.startswith(word) for word in tags.words)


def functions(block: str) -> Tags:
    """The tags of `<function=NAME><parameter=K>V</parameter></function>` in a block of this name."""
    return Tags(
        words=(block, "function", "parameter"),
        patterns=(
            ("block", re.compile(rf"<\s*{block}\s*>")),
            ("block_end", re.compile(rf"<\s*/\s*{block}\s*>")),
            ("call", re.compile(r"<\s*function\s*(?:=|\s+name\s*=)\s*(?P<name>[^>]+?)\s*/?>")),
            ("call_end", re.compile(r"<\s*/\s*function\s*(?:=[^>]*)?>")),
            ("parameter", re.compile(r"<\s*parameter\s*(?:=|\s+name\s*=)\s*(?P<name>[^>]+?)\s*/?>")),
            ("parameter_end", re.compile(r"<\s*/\s*parameter\s*(?:=[^>]*)?>")),
        ),
        misspelt=("function={}>", "<{}>"),
        unended=re.compile(r"<(?:function|parameter)=[\w.:-]+\n"),
    )


def invokes(
    *blocks: str,
    prefix: str = "",
    invoke: str = "invoke",
    parameter: str = "parameter",
    begins: tuple[str, ...] = ("<",),
    between: tuple[str, ...] = (),
) -> Tags:
    """The tags of `<invoke name="F"><parameter name="K">V</parameter></invoke>` in blocks of these names. The prefix
    and the names are regular expressions; `begins` has the prefix in it where it is worth looking for as a whole."""
    block = "|".join(blocks) or r"(?!)"
    words = (prefix + invoke, prefix + parameter, *blocks)
    plain = begins == ("<",) and not any(re.search(r"[\\(|\[?+*.]", word) for word in words)
    return Tags(
        words=words if plain else (),
        begins=begins,
        patterns=(
            ("block", re.compile(rf"<\s*(?:{block})\s*>")),
            ("block_end", re.compile(rf"<\s*/\s*(?:{block})\s*>")),
            ("call", re.compile(rf"<\s*{prefix}\s*{invoke}\s?[^>]*=[^>]*>")),
            ("call_end", re.compile(rf"<\s*/\s*{prefix}\s*{invoke}\s*>")),
            ("parameter", re.compile(rf"<\s*{prefix}\s*{parameter}\s?[^>]*=[^>]*>")),
            ("parameter_end", re.compile(rf"<\s*/\s*{prefix}\s*{parameter}\s*>")),
        ),
        between=between,
    )


def pairs(*, calls: bool = False, call: str = "tool_call", prefix: str = "") -> Tags:
    """The tags of `<tool_call>F<arg_key>K</arg_key><arg_value>V</arg_value></tool_call>`, with `calls` in a block
    `<tool_calls>`. Builds of some models give every tag a suffix of their own (`<arg_key:opensource>`), others a
    `prefix`, or a `call` of another name. A type may stand before the value, `<arg_type>string</arg_type>`."""
    suffix = r"(?::[\w.-]+)?\s*>"
    begin, end = r"<\s*" + re.escape(prefix), r"<\s*/\s*" + re.escape(prefix)
    patterns: list[tuple[Kind, re.Pattern[str]]] = [
        ("call", re.compile(begin + call + suffix)),
        ("call_end", re.compile(end + call + suffix)),
        ("parameter", re.compile(begin + "arg_key" + suffix)),
        ("key_end", re.compile(end + "arg_key" + suffix)),
        ("type", re.compile(begin + "arg_type" + suffix)),
        ("type_end", re.compile(end + "arg_type" + suffix)),
        ("value", re.compile(begin + "arg_value" + suffix)),
        ("parameter_end", re.compile(end + "arg_value" + suffix)),
    ]
    if calls:
        patterns += [
            ("block", re.compile(begin + "tool_calls" + suffix)),
            ("block_end", re.compile(end + "tool_calls" + suffix)),
            ("value", re.compile(begin + "tool_sep" + suffix)),
        ]
    words = (call, "arg_key", "arg_type", "arg_value", *(("tool_calls", "tool_sep") if calls else ()))
    return Tags(words=tuple(prefix + word for word in words), patterns=tuple(patterns), named_inside=True, keyed=True)
