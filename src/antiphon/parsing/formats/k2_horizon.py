"""K2 Horizon: calls as objects, or as keys and values that may say their type, and three depths of thinking, all in
`<ifm|…>` tags."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import call_object
from antiphon.parsing.json.marked_calls import sections
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls
from antiphon.parsing.tagged.tags import pairs

CALLS, CALLS_END = "<ifm|tool_calls>", "</ifm|tool_calls>"
CALL, CALL_END = "<ifm|tool_call>", "</ifm|tool_call>"
KEY, KEY_END, VALUE, VALUE_END = "<ifm|arg_key>", "</ifm|arg_key>", "<ifm|arg_value>", "</ifm|arg_value>"
TYPE, TYPE_END = "<ifm|arg_type>", "</ifm|arg_type>"
DEPTHS = ("think", "think_fast", "think_faster")

_tagged = tagged(pairs(calls=True, prefix="ifm|"))


def _call(reader: Reader) -> Reading[bool]:
    source = reader.source
    if (yield from source.past_space())[1] != "{":
        return (yield from _tagged(reader, CALL))
    found = yield from call_object(reader)
    yield from source.space()
    yield from source.close(CALL_END)
    return found


FORMATS = (
    Format(
        names=("k2_horizon",),
        summary="<ifm|arg_key> and <ifm|arg_value>, or a JSON object, in <ifm|tool_call> tags (K2 Horizon)",
        openers=(CALLS, CALL),
        visible=(CALLS_END, CALL_END, KEY, KEY_END, TYPE, TYPE_END, VALUE, VALUE_END),
        read=sections(
            opens=(CALLS,), calls=(CALL,), ends=(CALLS_END,), barriers=(CALL_END, CALLS_END), read_call=_call
        ),
        grammar=calls(
            before=CALLS,
            call=lambda name: Marker(f"{CALL}{name}"),
            parameter=lambda name, kind: f"{KEY}{name}{KEY_END}{VALUE}",
            value_end=VALUE_END,
            call_end=CALL_END,
            separator="\n",
            after=CALLS_END,
        ),
        recognises=lambda template: CALLS in template,
        rank=60,
        reasoning="k2_horizon",
        example=Example(
            f"{CALLS}{CALL}f{KEY}x{KEY_END}{VALUE}a b{VALUE_END}{CALL_END}{CALLS_END}", (("f", '{"x":"a b"}'),)
        ),
    ),
)
REASONINGS = (
    Reasoning(
        names=("k2_horizon",),
        summary="<ifm|think>…</ifm|think>, <ifm|think_fast> and <ifm|think_faster> likewise (K2 Horizon)",
        opens=tuple(f"<ifm|{depth}>" for depth in DEPTHS),
        closes=tuple(f"</ifm|{depth}>" for depth in DEPTHS),
        recognises=lambda template: "<ifm|think" in template or CALLS in template,
        rank=60,
    ),
)
