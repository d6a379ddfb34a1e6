"""GigaChat 3: one call object after a role of its own."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import objects
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

SEPARATOR, ROLE, CALL = "<|message_sep|>", "<|role_sep|>", "<|function_call|>"
HEAD = f"function call{ROLE}"

_calls = block(SEPARATOR)
_one = objects(begin=(Marker(SEPARATOR), "\n\nfunction call", Marker(ROLE), "\n"))


def read(reader: Reader, opener: str) -> Reading[bool]:
    """A call in a message of its own. The separator alone ends the message before it and is no text."""
    if opener == SEPARATOR:
        yield from reader.source.space()
        if not (yield from reader.source.accept(HEAD, CALL)):
            return True
    return (yield from _calls(reader, opener))


FORMATS = (
    Format(
        names=("gigachat3", "gigachat3.1"),
        summary="a JSON object after the role “function call” or <|function_call|> (GigaChat 3)",
        openers=(SEPARATOR, HEAD, CALL),
        visible=(ROLE,),
        read=read,
        grammar=lambda tools, most: _one(tools, 1),
        recognises=lambda template: CALL in template or (ROLE in template and "function call" in template),
        rank=40,
        example=Example(f'Hi{SEPARATOR}\n\n{HEAD}\n{{"name": "f", "arguments": {{"x": 1}}}}', (("f", '{"x": 1}'),)),
    ),
)
