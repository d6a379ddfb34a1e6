"""Llama 3.1 to 3.3 and Llama 4 in JSON mode: call objects after `<|python_tag|>`, which is often missing, and the
built-in tools' `NAME.call(key="value")`."""

from antiphon.parsing.formats import Example, Format
from antiphon.parsing.hints import HINTS, hinted
from antiphon.parsing.json.grammar import objects
from antiphon.parsing.python.calls import python_block

TAG, START, END = "<|python_tag|>", "<|python_start|>", "<|python_end|>"


def _recognises(template: str) -> bool:
    return TAG in template or START in template or "Environment: ipython" in template


FORMATS = (
    Format(
        names=("llama3_json", "llama4_json", "llama3"),
        summary="JSON objects, perhaps after <|python_tag|> (Llama 3.1 to 3.3, Llama 4)",
        openers=(TAG, START),
        bare="{",
        hints=HINTS,
        visible=(END,),
        read=hinted(python_block(END, "<|eom_id|>", brackets=False)),
        grammar=objects(separator=("; ",), key="parameters"),
        recognises=_recognises,
        rank=20,
        example=Example('{"name":"f","parameters":{"x":"1"}}', (("f", '{"x":"1"}'),)),
    ),
)
