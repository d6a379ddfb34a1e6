"""Kimi K2: sections of calls whose ids carry the name, `functions.NAME:INDEX`. And how Kimi-VL marks thinking."""

import re

from antiphon.constraint import Marker, Pattern
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import written_name
from antiphon.parsing.json.grammar import calls
from antiphon.parsing.json.marked_calls import marked_input, sections
from antiphon.parsing.reader import Reader, declared
from antiphon.parsing.splitter import Reading

# The singular is a slip that K2 makes.
SECTION = ("<|tool_calls_section_begin|>", "<|tool_call_section_begin|>")
SECTION_END = ("<|tool_calls_section_end|>", "<|tool_call_section_end|>")
CALL, ARGUMENTS, CALL_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"

_INDEX = re.compile(r":\d+\Z")
# What clients that allow an id no dots and colons hand back, and the model then copies.
_COPIED = re.compile(r"(?:functions?)?[._:]?(.+?)[._:]?\d+")


def _call(reader: Reader) -> Reading[bool]:
    source = reader.source
    yield from source.space()
    name = _named(reader, (yield from written_name(source)))
    return (yield from marked_input(reader, name, ARGUMENTS, CALL_END))


def _named(reader: Reader, id: str) -> str | None:
    """The tool that an id names. An id of a number alone can only mean the one tool there is."""
    if id.isdigit() and len(reader.tools) == 1:
        return next(iter(reader.tools))
    if not id or id.isdigit():
        return None
    name = reader.resolve(_INDEX.sub("", id))
    copied = _COPIED.fullmatch(id)
    if name not in reader.tools and copied:
        return declared(reader.tools, copied[1]) or name
    return name


FORMATS = (
    Format(
        names=("kimi_k2",),
        summary="sections of calls with ids functions.NAME:INDEX (Kimi K2, K2.5)",
        openers=(*SECTION, CALL),
        visible=(*SECTION_END, ARGUMENTS, CALL_END),
        read=sections(
            opens=SECTION, calls=(CALL,), ends=SECTION_END, barriers=(CALL_END, *SECTION_END), read_call=_call
        ),
        # The index counts over the conversation, which a grammar cannot know.
        grammar=calls(
            lambda name: (f"functions.{name}:", Pattern("[0-9]{1,3}"), Marker(ARGUMENTS)),
            begin=(Marker(CALL),),
            end=(Marker(CALL_END),),
            before=(Marker(SECTION[0]),),
            after=(Marker(SECTION_END[0]),),
        ),
        recognises=lambda template: SECTION[0] in template,
        rank=40,
        call_id=lambda name, index: f"functions.{name}:{index}",
        example=Example(
            f'{SECTION[0]}{CALL}functions.f:0{ARGUMENTS}{{"x":1}}{CALL_END}{SECTION_END[0]}', (("f", '{"x":1}'),)
        ),
    ),
)
REASONINGS = (
    Reasoning(
        names=("kimi",),
        summary="◁think▷…◁/think▷ (Kimi-VL, Kimi 1.5)",
        opens=("◁think▷",),
        closes=("◁/think▷",),
        recognises=lambda template: "◁/think▷" in template,
        rank=30,
    ),
)
