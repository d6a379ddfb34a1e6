"""Apertus: a JSON list of objects whose one key is the tool's name."""

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import further, named_call
from antiphon.parsing.json.grammar import calls
from antiphon.parsing.json.lenient import quoted
from antiphon.parsing.json.strings import plain_string
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

START, END = "<|tools_prefix|>", "<|tools_suffix|>"
THINK, THOUGHT = "<|inner_prefix|>", "<|inner_suffix|>"


def read(reader: Reader, opener: str) -> Reading[bool]:
    """The list, or one object alone, up to the closing marker."""
    source = reader.source
    source.barriers = (END,)
    yield from source.space()
    listed = yield from source.accept("[")
    found = yield from _call(reader)
    while found:
        yield from source.space()
        if (yield from source.accept(",", "}", "]")):
            continue
        if not (yield from further(reader, _call)):
            break
    ended = yield from source.accept("]", END)
    yield from source.space()
    ended = (yield from source.accept(END)) or ended
    source.barriers = ()
    return found or ((listed + ended).startswith("[") and ended == END)


def _call(reader: Reader) -> Reading[bool]:
    source = reader.source
    yield from source.space()
    if not (yield from source.accept("{")):
        return False
    yield from source.space()
    quote = yield from source.next()
    name = (yield from plain_string(source, quote, ":")) if quote in ('"', "'") else None
    yield from source.space()
    if name is None or (name := reader.resolve(name)) is None or not (yield from source.accept(":")):
        return False
    yield from source.space()
    if (yield from source.peek()) != "{":
        return False
    yield from named_call(reader, name)
    yield from source.space()
    yield from source.accept("}")
    return True


FORMATS = (
    Format(
        names=("apertus", "apertus2509"),
        summary="a JSON list of {NAME: arguments} between <|tools_prefix|> and <|tools_suffix|> (Apertus)",
        openers=(START,),
        visible=(END,),
        read=read,
        grammar=calls(
            lambda name: (f"{{{quoted(name)}: ",),
            end=("}",),
            before=(Marker(START), "["),
            after=("]", Marker(END)),
            separator=(", ",),
        ),
        recognises=lambda template: START in template or THINK in template,
        rank=45,
        reasoning="apertus",
        example=Example(f'{START}[{{"f": {{"x": 1}}}}]{END}', (("f", '{"x": 1}'),)),
    ),
)
REASONINGS = (
    Reasoning(
        names=("apertus", "apertus2509"),
        summary="<|inner_prefix|>…<|inner_suffix|> (Apertus)",
        opens=(THINK,),
        closes=(THOUGHT,),
        dropped=(THOUGHT,),
        anywhere=True,
        recognises=lambda template: THINK in template,
        rank=45,
    ),
)
