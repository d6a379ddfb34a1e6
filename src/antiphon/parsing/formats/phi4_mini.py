"""Phi-4-mini and Firefunction v2: the word `functools` and a JSON list, that nothing closes."""

from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import object_list
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

WORDS = ("functools[", "functools [")
CALL, CALL_END = "<|tool_call|>", "<|/tool_call|>"

_calls = block(CALL_END)


def read(reader: Reader, opener: str) -> Reading[bool]:
    """The list whose bracket ends the opener, or what stands between the markers of newer templates."""
    if opener in WORDS:
        reader.source.position -= 1
    return (yield from _calls(reader, opener))


def _recognises(template: str) -> bool:
    return "functools" in template or ("<|tool|>" in template and "<|/tool|>" in template)


FORMATS = (
    Format(
        names=("phi4_mini", "phi4_mini_json", "firefunction", "firefunction_v2"),
        summary="functools and a JSON list (Phi-4-mini, Firefunction v2)",
        openers=(*WORDS, CALL),
        visible=(CALL_END,),
        turn_ends=("<|end|>",),
        read=read,
        grammar=object_list(before=("functools",)),
        recognises=_recognises,
        rank=35,
        example=Example('functools[{"name": "f", "arguments": {"l": [1]}}]', (("f", '{"l": [1]}'),)),
    ),
)
