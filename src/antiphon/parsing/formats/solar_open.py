"""Solar Open: calls between tokens, with an id; thinking and answer are messages of one turn."""

import re

from antiphon.constraint import Marker, Pattern
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import written_name
from antiphon.parsing.json.grammar import calls
from antiphon.parsing.json.marked_calls import marked_input, sections
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

CALLS, CALLS_END = "<|tool_calls|>", "<|calls|>"
CALL, NAME, ARGUMENTS, CALL_END = "<|tool_call:begin|>", "<|tool_call:name|>", "<|tool_call:args|>", "<|tool_call:end|>"
THINK, END, TURN, CONTENT = "<|think|>", "<|end|>", "<|begin|>assistant", "<|content|>"

_ID = re.compile(r"[\w\-]+")


def _call(reader: Reader) -> Reading[bool]:
    source = reader.source
    yield from source.space()
    yield from source.run(_ID)
    yield from source.space()
    if not (yield from source.accept(NAME)):
        return False
    yield from source.space()
    name = reader.resolve((yield from written_name(source)))
    return (yield from marked_input(reader, name, ARGUMENTS, CALL_END))


FORMATS = (
    Format(
        names=("solar_open", "solar-open"),
        summary="calls between <|tool_call:begin|> and <|tool_call:end|> (Solar Open)",
        openers=(CALLS, CALL),
        visible=(CALLS_END, CALL_END, NAME, ARGUMENTS),
        read=sections(
            opens=(CALLS,), calls=(CALL,), ends=(CALLS_END,), barriers=(CALL_END, CALLS_END), read_call=_call
        ),
        grammar=calls(
            lambda name: (name, Marker(ARGUMENTS)),
            begin=(Marker(CALL), Pattern("[a-zA-Z0-9_]{1,16}"), Marker(NAME)),
            end=(Marker(CALL_END),),
            before=(Marker(CALLS),),
            after=(Marker(CALLS_END),),
        ),
        recognises=lambda template: CALL in template or NAME in template,
        rank=45,
        reasoning="solar_open",
        example=Example(
            f'{CALLS}{CALL}a1b2c3d4e5{NAME}f{ARGUMENTS}{{"x":1}}{CALL_END}{CALLS_END}', (("f", '{"x":1}'),)
        ),
    ),
)
REASONINGS = (
    Reasoning(
        names=("solar_open", "solar-open"),
        summary="<|think|>…<|end|>, the answer after <|content|> (Solar Open)",
        opens=(THINK,),
        closes=(f"{END}{TURN}", END, CONTENT),
        dropped=(CONTENT, TURN, END),
        messages=True,
        closing=f"{END}{TURN}{CONTENT}",
        recognises=lambda template: THINK in template and CONTENT in template,
        rank=45,
    ),
)
