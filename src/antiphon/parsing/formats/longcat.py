"""LongCat-Flash: call objects, in later models keys and values, and thinking in tags of its own name."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import objects
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls
from antiphon.parsing.tagged.tags import pairs

OPEN, CLOSE = "<longcat_tool_call>", "</longcat_tool_call>"
KEY, KEY_END, VALUE, VALUE_END = (f"<{slash}longcat_arg_{part}>" for part in ("key", "value") for slash in ("", "/"))
THINK, THOUGHT = "<longcat_think>", "</longcat_think>"

_read = tagged(pairs(prefix="longcat_"), otherwise=block(CLOSE))

FORMATS = (
    Format(
        names=("longcat",),
        summary="JSON objects in <longcat_tool_call> (LongCat-Flash)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=_read,
        grammar=objects(begin=(Marker(OPEN),), end=(Marker(CLOSE),), separator=("\n",)),
        recognises=lambda template: OPEN in template,
        rank=40,
        reasoning="longcat",
        example=Example(f'{OPEN}{{"name": "f", "arguments": {{"x": 1}}}}{CLOSE}', (("f", '{"x": 1}'),)),
    ),
    Format(
        names=("longcat2",),
        summary="<longcat_arg_key> and <longcat_arg_value> in <longcat_tool_call> tags (LongCat 2)",
        openers=(OPEN,),
        visible=(CLOSE, KEY, KEY_END, VALUE, VALUE_END),
        read=_read,
        grammar=calls(
            call=lambda name: Marker(f"{OPEN}{name}\n"),
            parameter=lambda name, kind: f"{KEY}{name}{KEY_END}\n{VALUE}",
            value_end=VALUE_END + "\n",
            call_end=CLOSE,
            separator="\n",
        ),
        recognises=lambda template: OPEN in template and KEY in template,
        rank=45,
        reasoning="longcat",
        example=Example(f"{OPEN}f\n{KEY}x{KEY_END}\n{VALUE}a b{VALUE_END}\n{CLOSE}", (("f", '{"x":"a b"}'),)),
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
