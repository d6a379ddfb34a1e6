"""Cohere's Command R7B, Command A and their successors: actions, thinking and answer each between tokens of their own.
Citations inside the answer are markup and left out."""

import re

from antiphon.constraint import Marker, Pattern
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import calls
from antiphon.parsing.json.lenient import quoted
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

START, END = "<|START_ACTION|>", "<|END_ACTION|>"
CITATION = ("<co>", "<co: ", "</co: ", "</co>")
TEXTS = ("<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_TEXT|>", "<|END_TEXT|>")

_calls = block(END)
_SOURCES = re.compile(r"[0-9:,\[\] ]+")


def read(reader: Reader, opener: str) -> Reading[bool]:
    """A list of actions; or a citation's tag, which is nothing."""
    if opener not in CITATION:
        return (yield from _calls(reader, opener))
    if opener.endswith(">"):
        return True
    yield from reader.source.run(_SOURCES)
    return (yield from reader.source.accept(">")) != ""


# Ids count over the conversation, which a grammar cannot know.
_ID = ('{"tool_call_id": "', Pattern("[0-9]{1,3}"), '", "tool_name": ')


FORMATS = (
    Format(
        names=("cohere_command3", "cohere_command4", "cohere"),
        summary="a JSON list between <|START_ACTION|> and <|END_ACTION|> (Command R7B, Command A)",
        openers=(START, *CITATION),
        asides=CITATION,
        visible=(END,),
        read=read,
        grammar=calls(
            lambda name: (f'{quoted(name)}, "parameters": ',),
            begin=_ID,
            end=("}",),
            before=(Marker(START), "[\n    "),
            after=("\n]", Marker(END)),
            separator=(",\n    ",),
        ),
        recognises=lambda template: START in template,
        rank=45,
        reasoning="cohere_command3",
        call_id=lambda name, index: str(index),
        example=Example(
            f'{START}[{{"tool_call_id": "0", "tool_name": "f", "parameters": {{"x": 1}}}}]{END}', (("f", '{"x": 1}'),)
        ),
    ),
)
REASONINGS = (
    Reasoning(
        names=("cohere_command3", "cohere_command4", "cohere"),
        summary="<|START_THINKING|>…<|END_THINKING|>, the answer in tokens too (Cohere Command)",
        opens=("<|START_THINKING|>",),
        closes=("<|END_THINKING|>",),
        dropped=(*TEXTS, "<|END_THINKING|>"),
        anywhere=True,
        closing="<|END_THINKING|><|START_RESPONSE|>",
        recognises=lambda template: "<|START_THINKING|>" in template or START in template,
        rank=45,
    ),
)
