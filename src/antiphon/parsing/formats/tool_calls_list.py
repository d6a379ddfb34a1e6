"""A JSON list in `<tool_calls>`: Jamba, Apriel, Hunyuan A13B. They differ in how they think."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import object_list
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

OPEN, CLOSE = "<tool_calls>", "</tool_calls>"
FINAL = "[BEGIN FINAL RESPONSE]"

_calls = block(CLOSE)
_grammar = object_list(before=(Marker(OPEN),), after=(Marker(CLOSE),))
_EXAMPLE = Example(f'{OPEN}[{{"name": "f", "arguments": {{"x": 1}}}}]{CLOSE}', (("f", '{"x": 1}'),))


def _outside_thinking(reader: Reader, opener: str) -> Reading[bool]:
    # Hunyuan drafts its calls in its thinking and writes them again after it.
    return not reader.in_thinking and (yield from _calls(reader, opener))


def _jamba(template: str) -> bool:
    return OPEN in template and "<tool_sep>" not in template and "<invoke" not in template


def _hunyuan(template: str) -> bool:
    return _jamba(template) and ("<answer>" in template or "<|extra_0|>" in template)


FORMATS = (
    Format(
        names=("jamba",),
        summary="a JSON list in <tool_calls> (Jamba)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=_calls,
        grammar=_grammar,
        recognises=_jamba,
        rank=12,
        example=_EXAMPLE,
    ),
    Format(
        names=("apriel",),
        summary="a JSON list in <tool_calls>, after thinking that nothing opens (Apriel)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=_calls,
        grammar=_grammar,
        recognises=lambda template: FINAL in template,
        rank=40,
        reasoning="apriel",
        example=Example(f"a{FINAL}{_EXAMPLE.raw}", _EXAMPLE.calls),
    ),
    Format(
        names=("hunyuan_a13b",),
        summary="a JSON list in <tool_calls>, never inside thinking (Hunyuan A13B and 7B)",
        openers=(OPEN, f"助手：{OPEN}"),
        visible=(CLOSE,),
        read=_outside_thinking,
        grammar=_grammar,
        recognises=_hunyuan,
        rank=40,
        reasoning="hunyuan_a13b",
        example=_EXAMPLE,
    ),
)
REASONINGS = (
    Reasoning(
        names=("apriel",),
        summary="thinking up to [BEGIN FINAL RESPONSE] (Apriel)",
        opens=("Here are my reasoning steps:",),
        closes=(FINAL,),
        dropped=("[END FINAL RESPONSE]",),
        forced=True,
        recognises=lambda template: FINAL in template,
        rank=40,
    ),
    Reasoning(
        names=("hunyuan_a13b",),
        summary="<think>…</think>, then the answer in <answer> (Hunyuan A13B)",
        opens=("<think>",),
        closes=("</think>",),
        dropped=("<answer>", "</answer>"),
        recognises=lambda template: "</think>" in template and "<answer>" in template,
        rank=30,
    ),
)
