"""Salesforce xLAM: a bare JSON list, in whatever wrapping the base model knew."""

from antiphon.parsing.formats import Example, Format
from antiphon.parsing.hints import HINTS, LIST_HINT, hinted
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import object_list

FORMATS = (
    Format(
        names=("xlam",),
        summary="a bare JSON list of call objects (xLAM 1 and 2)",
        openers=("[TOOL_CALLS]", "<tool_call>"),
        bare="[{",
        hints=(LIST_HINT, *HINTS),
        visible=("</tool_call>",),
        read=hinted(block("</tool_call>")),
        grammar=object_list(),
        example=Example('[{"name": "f", "arguments": {"x": 1}}]', (("f", '{"x": 1}'),)),
    ),
)
