"""JSON objects in `<tool_call>` tags: Hermes, Qwen2.5, Qwen3 and many that were trained like them."""

from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Literal, Marker, Node, Repeat, Sequence
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json_calls import call_grammar, call_list
from antiphon.parsing.parser import Reader
from antiphon.parsing.splitter import Reading

OPEN, CLOSE = "<tool_call>", "</tool_call>"


def read(reader: Reader, opener: str) -> Reading[bool]:
    """One block: a call object (or, from models that learned it otherwise, several) up to the closing tag."""
    source = reader.source
    source.barriers = (CLOSE,)
    found = yield from call_list(reader)
    while found:
        # A stray brace too many, or a further object in the same block.
        yield from source.space()
        if (yield from source.accept("}", ",", ";")):
            continue
        if (yield from source.peek()) != "{" or not (yield from call_list(reader)):
            break
    if found:
        yield from source.space()
        yield from source.accept(CLOSE)
    source.barriers = ()
    return found


def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
    """One block for each call, a line break between."""
    body = Either(tuple(call_grammar(name, schema) for name, schema in tools))
    block = Sequence((Marker(OPEN), Literal("\n"), body, Literal("\n"), Marker(CLOSE)))
    return Repeat(block, 1, most, Literal("\n"))


def _recognises(template: str) -> bool:
    return OPEN in template and "<function=" not in template and "<arg_key>" not in template


FORMATS = (
    Format(
        names=("hermes", "qwen2d5", "qwen", "qwen3", "qwen25", "qwen3_json", "granite4"),
        summary="JSON objects in <tool_call> tags (Hermes, Qwen2.5, Qwen3, Granite 4, SmolLM3 and others)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=read,
        grammar=grammar,
        recognises=_recognises,
        rank=10,
        example=Example('Hi<tool_call>\n{"name":"f","arguments":{"x":1}}\n</tool_call>', (("f", '{"x":1}'),)),
    ),
)
