"""Solar Open 2: parameters of raw text between tokens, a line each; thinking between tokens too."""

import re

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls
from antiphon.parsing.tagged.tags import Kind, Tags

CALL, CALL_END = "<|tool_call:start|>", "<|tool_call:end|>"
PARAMETER, VALUE, PARAMETER_END = "<|tool_arg:start|>", "<|tool_arg:value|>", "<|tool_arg:end|>"
THINK, THOUGHT, TURN_END = "<|think:start|>", "<|think:end|>", "<|im:end|>"

_KINDS: tuple[tuple[Kind, str], ...] = (
    ("call", CALL),
    ("call_end", CALL_END),
    ("parameter", PARAMETER),
    ("value", VALUE),
    ("parameter_end", PARAMETER_END),
)
_TAGS = Tags(
    words=("start", "value", "end"),
    begins=("<|tool_call:", "<|tool_arg:"),
    end="|>",
    patterns=tuple((kind, re.compile(re.escape(tag))) for kind, tag in _KINDS),
    named_inside=True,
    keyed=True,
)

FORMATS = (
    Format(
        names=("solar_open2",),
        summary="<|tool_arg:start|> and <|tool_arg:value|> after <|tool_call:start|> (Solar Open 2)",
        openers=(CALL,),
        visible=(CALL_END, PARAMETER, VALUE, PARAMETER_END),
        turn_ends=(TURN_END,),
        read=tagged(_TAGS),
        recognises=lambda template: CALL in template or PARAMETER in template,
        rank=50,
        reasoning="solar_open2",
        # The line break stands before a tag, so that a value ends with its token whatever follows.
        grammar=calls(
            call=lambda name: Marker(CALL + name),
            parameter=lambda name, kind: f"\n{PARAMETER}{name}{VALUE}",
            value_end=PARAMETER_END,
            call_end=f"\n{CALL_END}",
            separator="\n",
        ),
        example=Example(
            f"{CALL}f\n{PARAMETER}x{VALUE}a b{PARAMETER_END}\n{CALL_END}",
            (("f", '{"x":"a b"}'),),
        ),
    ),
)

REASONINGS = (
    Reasoning(
        names=("solar_open2",),
        summary="<|think:start|>…<|think:end|> (Solar Open 2)",
        opens=(THINK,),
        closes=(THOUGHT,),
        dropped=(THOUGHT,),
        anywhere=True,
        closing=THOUGHT,
        recognises=lambda template: THINK in template,
        rank=50,
    ),
)
