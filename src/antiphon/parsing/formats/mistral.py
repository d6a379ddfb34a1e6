"""Mistral's bracket markers: the JSON list of older models (7B v0.3, Nemo, Large 2407), `NAME[ARGS]{…}` of newer ones
(Devstral, Magistral, Ministral 3), `NAME[CALL_ID]ID[ARGS]{…}` of Small 3.2. One reader tells them apart."""

import re
from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Marker, Node, Pattern, Sequence
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import block, named_call, written_name
from antiphon.parsing.json.grammar import calls, object_list
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

CALL, CALL_ID, ARGUMENTS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
THINK, THOUGHT = "[THINK]", "[/THINK]"

_ID = re.compile(r"[a-zA-Z0-9_\-]+")
_objects = block()
_list = object_list(before=(Marker(CALL), " "))
_id = Either((Sequence((Marker(CALL_ID), Pattern("[a-zA-Z0-9]{9}"), Marker(ARGUMENTS))), Marker(ARGUMENTS)))
_named = calls(lambda name: (name, _id), begin=(Marker(CALL),))


def read(reader: Reader, opener: str) -> Reading[bool]:
    """One list of call objects, or one call whose name stands before its arguments."""
    source = reader.source
    space, first = yield from source.past_space()
    if (yield from source.stands(CALL, offset=len(space))):
        # The marker written twice.
        source.position += len(space) + len(CALL)
        _, first = yield from source.past_space()
    if not opener or first in ("[", "{"):
        return (yield from _objects(reader, opener))
    yield from source.space()
    name = reader.resolve((yield from written_name(source)))
    yield from source.space()
    if (yield from source.accept(CALL_ID)):
        yield from source.run(_ID)
    marked = yield from source.accept(ARGUMENTS)
    if name is None or not (marked or (yield from source.peek()) == "{"):
        return False
    source.barriers = (CALL,)
    yield from named_call(reader, name)
    source.barriers = ()
    return True


def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
    """The newer spelling or the older list: the vocabulary decides which the model prefers."""
    return Either((_named(tools, most), _list(tools, most)))


def _call_id(name: str, index: int) -> str:
    # The templates demand exactly nine letters or digits.
    return f"call{index:05d}"


FORMATS = (
    Format(
        names=("mistral",),
        summary="[TOOL_CALLS] before a JSON list or NAME[ARGS]{…} (Mistral, Devstral, Magistral, Ministral)",
        openers=(CALL,),
        bare="[",
        visible=(CALL_ID, ARGUMENTS),
        turn_ends=("</s>",),
        read=read,
        grammar=grammar,
        recognises=lambda template: CALL in template,
        rank=40,
        reasoning="mistral",
        call_id=_call_id,
        example=Example('[TOOL_CALLS]f[ARGS]{"x": 1}[TOOL_CALLS]g[ARGS]{}', (("f", '{"x": 1}'), ("g", "{}"))),
    ),
)
REASONINGS = (
    Reasoning(
        names=("mistral",),
        summary="[THINK]…[/THINK] (Magistral, Ministral 3)",
        opens=(THINK,),
        closes=(THOUGHT,),
        dropped=(THOUGHT,),
        anywhere=True,
        recognises=lambda template: THINK in template,
        rank=30,
    ),
)
