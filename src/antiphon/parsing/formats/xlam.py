"""Salesforce xLAM: a bare JSON list, in whatever wrapping the base model knew."""

from antiphon.constraint import Literal
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.hints import HINTS, LIST_HINT, hinted
from antiphon.parsing.json.calls import block, list_grammar

FORMATS = (
    Format(
        names=("xlam",),
        summary="a bare JSON list of call objects (xLAM 1 and 2)",
        openers=("[TOOL_CALLS]", "<tool_call>"),
        bare="[{",
        hints=(LIST_HINT, *HINTS),
        visible=("</tool_call>",),
        read=hinted(block("</tool_call>")),
        grammar=list_grammar(Literal(""), Literal("")),
        example=Example('[{"name": "f", "arguments": {"x": 1}}]', (("f", '{"x": 1}'),)),
    ),
)
