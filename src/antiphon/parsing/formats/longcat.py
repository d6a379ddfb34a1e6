"""LongCat-Flash: call objects and thinking in tags of its own name."""

from antiphon.constraint import Literal, Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json_calls import block, blocks_grammar

OPEN, CLOSE = "<longcat_tool_call>", "</longcat_tool_call>"
THINK, THOUGHT = "<longcat_think>", "</longcat_think>"

FORMATS = (
    Format(
        names=("longcat",),
        summary="JSON objects in <longcat_tool_call> (LongCat-Flash)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=block(CLOSE),
        grammar=blocks_grammar(Marker(OPEN), Marker(CLOSE), Literal("\n")),
        recognises=lambda template: OPEN in template,
        rank=40,
        reasoning="longcat",
        example=Example(f'{OPEN}{{"name": "f", "arguments": {{"x": 1}}}}{CLOSE}', (("f", '{"x": 1}'),)),
    ),
)
REASONINGS = (
    Reasoning(
        names=("longcat",),
        summary="<longcat_think>…</longcat_think> (LongCat-Flash-Thinking)",
        opens=(THINK,),
        closes=(THOUGHT,),
        recognises=lambda template: THOUGHT in template,
        rank=30,
    ),
)
