"""MiniMax M3: every tag stands after a marker token. Parameters are tags named after them; objects are nested tags,
lists repeated `<item>` tags."""

from __future__ import annotations

import re
from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Json, Literal, Node, Repeat, Sequence, Until, closed
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json import lenient
from antiphon.parsing.splitter import Emit, Reading, Splitter, markers
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import spelt
from antiphon.parsing.tagged.tags import Tag, Tags, tag_here
from antiphon.parsing.tagged.values import Input

MARK = "]<]minimax[>["
_DEEP = 20
_MOST_ITEMS = 64


def _tag(body: str) -> re.Pattern[str]:
    return re.compile(re.escape(MARK) + r"\s*" + body)


_TAGS = Tags(
    words=(),
    begins=(MARK,),
    # Only white space, of which any, stands between the marker and the tag, but for a call's that lost its bracket.
    broken=re.compile(r"(?<=\[>\[)\s*[^\s<i]|(?<![\[\s])[<\n]"),
    patterns=(
        ("block", _tag(r"<tool_call>")),
        ("block_end", _tag(r"</tool_call>")),
        ("call", _tag(r"(?:<invoke\s[^>]*|invoke\s+name=[^>]*)>")),
        ("call_end", _tag(r"</invoke>")),
        ("parameter_end", _tag(r"</(?P<name>[^>]+)>")),
        ("parameter", _tag(r"<(?P<name>[^/>]+)>")),
    ),
    named_at_end=True,
)


def _value(source: Splitter, input: Input, name: str) -> Reading[bool]:
    """A parameter's value after its tag. Returns whether it was closed, which the next tag may do as well."""
    source.mark()
    yield from source.space()
    tag = yield from tag_here(source, _TAGS)
    source.rewind()
    nested = tag is not None and tag.kind == "parameter" and not input.expects(tag.name)
    if nested or _empty(tag, input.signature, name):
        json, done = yield from _nested(source, input.signature, name, 0)
        input.member(input.signature.named(name), json)
        return done
    value = input.value(input.signature.named(name), "")
    closed = yield from _text(source, name, value.feed, input)
    value.close(cut=not closed)
    return closed


def _empty(tag: Tag | None, around: Signature, name: str) -> bool:
    """Whether the tag ends a list or object that has nothing in it."""
    kinds = around.kinds(around.named(name))
    ends = tag is not None and tag.kind == "parameter_end" and tag.name == name
    return ends and bool(kinds & {"object", "array"}) and "string" not in kinds


def _text(source: Splitter, name: str, emit: Emit, input: Input | None) -> Reading[bool]:
    # Models leave the marker out before a closing tag.
    bare = f"</{name}>"
    while True:
        found = yield from source.until(markers(_TAGS.begins[0], bare), emit)
        if not found:
            return False
        source.position -= len(found)
        source.mark()
        if found == bare:
            source.position += len(bare)
            space, following = yield from source.past_space()
            ends = following == "" or (yield from source.stands(MARK, offset=len(space)))
            source.rewind()
            if ends:
                source.position += len(bare)
                return True
        else:
            tag = yield from tag_here(source, _TAGS)
            if tag is not None and tag.kind == "parameter_end" and tag.name == name:
                source.release()
                return True
            source.rewind()
            if tag is not None and (tag.kind != "parameter" or input is None or input.expects(tag.name)):
                return True
        emit(found)
        source.position += len(found)


def _nested(source: Splitter, around: Signature, name: str, depth: int) -> Reading[tuple[str, bool]]:
    """The object or list written in tags here, as JSON, and whether its end came."""
    inner, listed = _inside(around, around.named(name))
    members: list[tuple[str, str]] = []
    done = False
    while depth < _DEEP:
        yield from source.space()
        source.mark()
        tag = yield from tag_here(source, _TAGS)
        if tag is None or tag.kind not in ("parameter", "parameter_end"):
            source.rewind()
            done = tag is not None
            break
        source.release()
        if tag.kind == "parameter_end" and tag.name == name:
            done = True
            break
        if tag.kind == "parameter":
            json, closed = yield from _member(source, inner, tag.name, depth)
            members.append((tag.name, json))
            if not closed:
                break
    if listed or (
        members and {key for key, _ in members} == {"item"} and "object" not in around.kinds(around.named(name))
    ):
        return "[" + ",".join(json for _, json in members) + "]", done
    return _object(inner, members), done


def _object(signature: Signature, members: Many[tuple[str, str]]) -> str:
    """The members as JSON. Tags of one name are a list, but for those of what is declared as none: there the last one
    is in force."""
    values: dict[str, list[str]] = {}
    for key, json in members:
        values.setdefault(key, []).append(json)

    def value(key: str) -> str:
        kinds, each = signature.kinds(signature.named(key)), values[key]
        return each[-1] if len(each) == 1 or (kinds and "array" not in kinds) else f"[{','.join(each)}]"

    return "{" + ",".join(f"{lenient.quoted(key)}:{value(key)}" for key in values) + "}"


def _inside(around: Signature, name: str) -> tuple[Signature, bool]:
    """What the schema says of the members of a parameter, and whether it is a list."""
    schema = around.standing(name)
    if "array" not in around.kinds(name):
        return Signature(schema), False
    return Signature({**schema, "type": "object", "properties": {"item": schema.get("items", {})}}), True


def _member(source: Splitter, around: Signature, name: str, depth: int) -> Reading[tuple[str, bool]]:
    source.mark()
    yield from source.space()
    tag = yield from tag_here(source, _TAGS)
    source.rewind()
    if (tag is not None and tag.kind == "parameter") or _empty(tag, around, name):
        return (yield from _nested(source, around, name, depth + 1))
    parts: list[str] = []
    closed = yield from _text(source, name, parts.append, None)
    return around.coerce(around.named(name), "".join(parts), cut=not closed), closed


def _grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
    body = Either(
        tuple(
            Sequence((spelt(f'{MARK}<invoke name="{name}">'), _members(Signature(schema), schema, 0), spelt(_END)))
            for name, schema in tools
        )
    )
    return Sequence((spelt(f"{MARK}<tool_call>\n"), Repeat(body, 1, most), spelt(f"{MARK}</tool_call>")))


def _members(signature: Signature, schema: dict[str, Any], depth: int) -> Node:
    required = schema.get("required")
    nodes: list[Node] = []
    for name in signature.parameters():
        written = Sequence((spelt(f"{MARK}<{name}>"), _written(signature, name, depth)))
        needed = isinstance(required, list) and name in required
        nodes.append(written if needed else Either((written, Literal(""))))
    return Sequence(tuple(nodes))


def _written(signature: Signature, name: str, depth: int) -> Node:
    end = f"{MARK}</{name}>"
    if choices := signature.choices(name):
        return Sequence((Either(tuple(Literal(choice) for choice in choices)), spelt(end)))
    kinds, schema = signature.kinds(name), signature.standing(name)
    if not kinds or "string" in kinds:
        return Until(end)
    inner, _ = _inside(signature, name)
    if kinds == {"object"} and depth < 4 and inner.parameters():
        return Sequence((_members(inner, schema, depth + 1), spelt(end)))
    if kinds == {"array"} and depth < 4 and isinstance(schema.get("items"), dict):
        item = Sequence((spelt(f"{MARK}<item>"), _written(inner, "item", depth + 1)))
        return Sequence((Repeat(item, 0, _MOST_ITEMS), spelt(end)))
    return Sequence((Json(closed(schema)), spelt(end)))


OPEN, _END = MARK + "<tool_call>", MARK + "</invoke>\n"

FORMATS = (
    Format(
        names=("minimax_m3", "minimax-m3"),
        summary="tags after a marker token, parameters named by their tags (MiniMax M3)",
        openers=(MARK,),
        visible=(MARK,),
        read=tagged(_TAGS, value=_value),
        recognises=lambda template: MARK in template or "<mm:think>" in template,
        rank=64,
        reasoning="minimax_m3",
        grammar=_grammar,
        example=Example(
            f'{OPEN}\n{MARK}<invoke name="f">{MARK}<x>a b{MARK}</x>{MARK}</invoke>\n{MARK}</tool_call>',
            (("f", '{"x":"a b"}'),),
        ),
    ),
)

REASONINGS = (
    Reasoning(
        names=("minimax_m3", "minimax-m3"),
        summary="<mm:think>…</mm:think> (MiniMax M3)",
        opens=("<mm:think>",),
        closes=("</mm:think>",),
        recognises=lambda template: "<mm:think>" in template or MARK in template,
        rank=40,
    ),
)
