"""PLaMo 3: requests between tokens of their own, each with a name and JSON arguments."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import named_call, written_name
from antiphon.parsing.json.grammar import calls
from antiphon.parsing.json.marked_calls import sections
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading


def _pair(part: str) -> tuple[str, str]:
    return f"<|plamo:begin_{part}:plamo|>", f"<|plamo:end_{part}:plamo|>"


CALLS, CALLS_END = _pair("tool_requests")
CALL, CALL_END = _pair("tool_request")
NAME, NAME_END = _pair("tool_name")
ARGUMENTS, ARGUMENTS_END = _pair("tool_arguments")
THINK, THOUGHT = _pair("think")
CONSTRAIN, MESSAGE, TURN_END = "<|plamo:constrain|>", "<|plamo:msg|>", "<|plamo:tag|>"
_KIND = f"{CONSTRAIN}json{MESSAGE}"


def _call(reader: Reader) -> Reading[bool]:
    source = reader.source
    yield from source.space()
    yield from source.accept(NAME)
    yield from source.space()
    name = reader.resolve((yield from written_name(source)))
    for marker in (NAME_END, ARGUMENTS, CONSTRAIN, "json", MESSAGE):
        yield from source.space()
        yield from source.accept(marker)
    if name is None or (yield from source.past_space())[1] not in ("{", "<", ""):
        return False
    yield from named_call(reader, name)
    for marker in (ARGUMENTS_END, CALL_END):
        yield from source.space()
        yield from source.close(marker)
    return True


FORMATS = (
    Format(
        names=("plamo3",),
        summary="requests of a name and JSON arguments between <|plamo:…|> tokens (PLaMo 3)",
        openers=(CALLS, CALL),
        visible=(CALLS_END, CALL_END, NAME, NAME_END, ARGUMENTS, ARGUMENTS_END, CONSTRAIN, MESSAGE),
        read=sections(
            opens=(CALLS,),
            calls=(CALL,),
            ends=(CALLS_END,),
            barriers=(ARGUMENTS_END, CALL_END, CALLS_END),
            read_call=_call,
        ),
        grammar=calls(
            lambda name: (name, Marker(NAME_END), Marker(ARGUMENTS + _KIND)),
            begin=(Marker(CALL), Marker(NAME)),
            end=(Marker(ARGUMENTS_END), Marker(CALL_END)),
            before=(Marker(CALLS),),
            after=(Marker(CALLS_END),),
        ),
        recognises=lambda template: "plamo:begin_tool_request" in template or CALLS in template,
        rank=60,
        reasoning="plamo3",
        example=Example(
            f'{CALLS}{CALL}{NAME}f{NAME_END}{ARGUMENTS}{_KIND}{{"x": 1}}{ARGUMENTS_END}{CALL_END}{CALLS_END}',
            (("f", '{"x": 1}'),),
        ),
    ),
)
REASONINGS = (
    Reasoning(
        names=("plamo3",),
        summary="<|plamo:begin_think:plamo|>…<|plamo:end_think:plamo|> (PLaMo 3)",
        opens=(THINK,),
        closes=(THOUGHT,),
        dropped=(THOUGHT, TURN_END),
        anywhere=True,
        recognises=lambda template: "plamo:begin_think" in template,
        rank=60,
    ),
)
