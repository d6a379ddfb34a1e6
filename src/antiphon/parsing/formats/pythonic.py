"""Calls written as Python: Llama 4, Llama 3.2's small models, ToolACE, Gemma 3 by prompt; LFM2 and OLMo 3 put markers
around them."""

from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Literal, Marker, Node, Repeat, Sequence
from antiphon.parsing.formats import Example, Format, Grammar
from antiphon.parsing.hints import HINTS, hinted
from antiphon.parsing.python.calls import call_grammar, python_block
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, markers

START, END = "<|python_start|>", "<|python_end|>"
LFM_START, LFM_END = "<|tool_call_start|>", "<|tool_call_end|>"
OLMO_START, OLMO_END = "<function_calls>", "</function_calls>"

_FENCES = ("```python", "```tool_code")
_bare = python_block()
_marked = python_block(END, brackets=False)
_fenced = python_block("```", brackets=False)
_lfm = python_block(LFM_END, brackets=False)


def _read(reader: Reader, opener: str) -> Reading[bool]:
    if opener == START:
        return (yield from _marked(reader, opener))
    if opener in _FENCES:
        return (yield from _fenced(reader, opener))
    if opener == "[":
        reader.source.position -= 1
    found = yield from _bare(reader, "")
    if found:
        yield from reader.source.space()
        yield from reader.source.close(END)
    return found


def _read_lfm(reader: Reader, opener: str) -> Reading[bool]:
    """A marked list; a bare one where nothing was called yet. A bare one after a call that a closing marker ends is
    the same again, which means nothing."""
    if opener or not reader.calls:
        return (yield from _lfm(reader, opener))
    _, ended = yield from reader.source.collect(markers(LFM_END, "\n"))
    return ended == LFM_END


def _grammar(before: Node, separator: str, after: Node) -> Grammar:
    def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
        calls = Either(tuple(call_grammar(name, schema) for name, schema in tools))
        return Sequence((before, Repeat(calls, 1, most, Literal(separator)), after))

    return grammar


def _olmo(template: str) -> bool:
    return OLMO_START in template and "DSML" not in template


FORMATS = (
    Format(
        names=("pythonic", "llama4_pythonic"),
        summary="a Python list of calls, [f(a='x'), g()] (Llama 4, Llama 3.2 1B and 3B, ToolACE, Gemma 3)",
        openers=(START,),
        bare="[{",
        hints=("[", *_FENCES, *HINTS),
        visible=(END,),
        read=hinted(_read),
        grammar=_grammar(Literal("["), ", ", Literal("]")),
        recognises=lambda template: "[func_name1(" in template,
        rank=30,
        example=Example("[f(a='x'), g(b=[1, None])]", (("f", '{"a": "x"}'), ("g", '{"b": [1, null]}'))),
    ),
    Format(
        names=("lfm2",),
        summary="a Python list of calls between <|tool_call_start|> and <|tool_call_end|> (LFM2)",
        openers=(LFM_START,),
        bare="[",
        visible=(LFM_END,),
        read=_read_lfm,
        grammar=_grammar(Sequence((Marker(LFM_START), Literal("["))), ", ", Sequence((Literal("]"), Marker(LFM_END)))),
        recognises=lambda template: LFM_START in template or "<|tool_list_start|>" in template,
        rank=40,
        example=Example(f"{LFM_START}[f(x=1)]{LFM_END}Done.", (("f", '{"x": 1}'),)),
    ),
    Format(
        names=("olmo3",),
        summary="Python calls, one a line, in <function_calls> (OLMo 3)",
        openers=(OLMO_START,),
        visible=(OLMO_END,),
        read=python_block(OLMO_END, brackets=False),
        grammar=_grammar(Marker(OLMO_START), "\n", Marker(OLMO_END)),
        recognises=_olmo,
        rank=15,
        example=Example(f"{OLMO_START}f(a='x')\ng(){OLMO_END}", (("f", '{"a": "x"}'), ("g", "{}"))),
    ),
)
