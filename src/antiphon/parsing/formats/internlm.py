"""InternLM 2 and Intern-S1: a call object for the plugin."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import objects
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

START, PLUGIN, END = "<|action_start|>", "<|plugin|>", "<|action_end|>"

_calls = block(END)


def read(reader: Reader, opener: str) -> Reading[bool]:
    """An action of the plugin. Some decoders put a space between the two tokens that open it."""
    yield from reader.source.space()
    if not (yield from reader.source.accept(PLUGIN)):
        return False
    return (yield from _calls(reader, opener))


FORMATS = (
    Format(
        names=("internlm2", "internlm", "intern-s1", "intern_s1", "interns1"),
        summary="a JSON object between <|action_start|><|plugin|> and <|action_end|> (InternLM 2, Intern-S1)",
        openers=(START,),
        visible=(PLUGIN, END),
        read=read,
        grammar=objects(
            begin=(Marker(START), Marker(PLUGIN), "\n"), end=(Marker(END),), separator=("\n",), key="parameters"
        ),
        recognises=lambda template: PLUGIN in template or "default_thinking_sys" in template,
        rank=45,
        example=Example(f'{START}{PLUGIN}\n{{"name": "f", "parameters": {{"x": 1}}}}{END}', (("f", '{"x": 1}'),)),
    ),
)
