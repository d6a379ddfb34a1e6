"""MiniMax M1: JSON objects, one a line, in `<tool_calls>` tags."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import objects

OPEN, CLOSE = "<tool_calls>", "</tool_calls>"


FORMATS = (
    Format(
        names=("minimax_m1", "minimax"),
        summary="JSON objects, one a line, in <tool_calls> tags (MiniMax M1)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=block(CLOSE),
        recognises=lambda template: OPEN in template and "<beginning_of_sentence>" in template,
        rank=40,
        grammar=objects(before=(Marker(OPEN), "\n"), after=("\n", Marker(CLOSE)), separator=("\n",)),
        example=Example('<tool_calls>\n{"name": "f", "arguments": {"x":1}}\n</tool_calls>', (("f", '{"x":1}'),)),
    ),
)
