"""Nemotron Nano v2 and the Llama-based Nemotrons of its time: a JSON list in `<TOOLCALL>`."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import object_list

OPEN, CLOSE = "<TOOLCALL>", "</TOOLCALL>"

FORMATS = (
    Format(
        names=("nemotron_v2", "nemotron_json", "nemotron_nano_v2"),
        summary="a JSON list in <TOOLCALL> (Nemotron Nano v2, Llama-Nemotron 1.5)",
        openers=(OPEN,),
        visible=(CLOSE,),
        turn_ends=("<SPECIAL_12>",),
        read=block(CLOSE),
        grammar=object_list(before=(Marker(OPEN),), after=(Marker(CLOSE),)),
        recognises=lambda template: OPEN in template,
        rank=40,
        example=Example(
            f'{OPEN}[{{"name": "f", "arguments": {{"x": 1}}}}, {{"name": "g", "arguments": {{}}}}]{CLOSE}',
            (("f", '{"x": 1}'), ("g", "{}")),
        ),
    ),
)
