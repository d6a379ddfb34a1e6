"""Inkling: a reply is a row of blocks, each begun by a token that says what it holds: thinking, text, or a call object
under `name` and `args`."""

import re

from antiphon.constraint import Marker, Sequence
from antiphon.parsing import turn
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import objects
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

MODEL, END, OVER = "<|message_model|>", "<|end_message|>", "<|content_model_end_sampling|>"
THINKING, TEXT, CALL = "<|content_thinking|>", "<|content_text|>", "<|content_invoke_tool_json|>"
OTHERS = ("<|content_invoke_tool_text|>", "<|content_tool_error|>")

_NAME = re.compile(r"[\w.\-]+")
_calls = block(END, OVER)


def read(reader: Reader, opener: str) -> Reading[bool]:
    """A call; or the head of a message, in which a tool may be named before the block says so again."""
    source = reader.source
    if opener == CALL:
        return (yield from _calls(reader, opener))
    name = yield from source.run(_NAME)
    if not (yield from source.stands(CALL, THINKING, TEXT, *OTHERS)):
        source.position -= len(name)
    return True


def read_turn(reader: Reader, format: Format, reasoning: Reasoning) -> Reading[None]:
    """The blocks. The prompt ends with the head of the first message."""
    reader.source.mark()
    yield from read(reader, MODEL)
    reader.source.release()
    yield from turn.read_turn(reader, format, reasoning)


FORMATS = (
    Format(
        names=("inkling",),
        summary="a JSON object of name and args after <|content_invoke_tool_json|> (Inkling)",
        openers=(CALL, MODEL),
        asides=(MODEL,),
        visible=(END, OVER, THINKING, TEXT, *OTHERS),
        read=read,
        read_turn=read_turn,
        grammar=objects(begin=(Marker(CALL),), end=(Marker(END),), separator=(Marker(MODEL),), key="args"),
        answer=lambda node: Sequence((Marker(TEXT), node)),
        recognises=lambda template: CALL in template or THINKING in template,
        rank=60,
        reasoning="inkling",
        example=Example(f'{CALL}{{"name": "f", "args": {{"x": 1}}}}{END}', (("f", '{"x": 1}'),)),
    ),
)
REASONINGS = (
    Reasoning(
        names=("inkling",),
        summary="blocks after <|content_thinking|> (Inkling)",
        opens=(THINKING,),
        closes=(END, OVER),
        dropped=(MODEL, TEXT, *OTHERS, END, OVER),
        messages=True,
        anywhere=True,
        closing=f"{END}{MODEL}{TEXT}",
        recognises=lambda template: THINKING in template,
        rank=60,
    ),
)
