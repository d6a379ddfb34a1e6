"""Cohere's Command R and R+: the word `Action:` and a fenced JSON list of actions; one is to answer directly."""

from antiphon.parsing.formats import Example, Format
from antiphon.parsing.json.calls import block
from antiphon.parsing.json.grammar import calls
from antiphon.parsing.json.lenient import quoted
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading

CALL, FENCE = "Action:", "```"
DIRECTLY = ('"directly_answer"', '"directly-answer"')

_calls = block(FENCE)


def read(reader: Reader, opener: str) -> Reading[bool]:
    """The list of actions. The pseudo action of answering directly is none, and the text goes on after it."""
    source = reader.source
    yield from source.space()
    if (yield from source.accept(FENCE)):
        yield from source.accept("json")
    before = source.passed
    if (yield from _directly(reader)):
        reader.boundary()
        return True
    source.return_to(before)
    return (yield from _calls(reader, opener))


def _directly(reader: Reader) -> Reading[bool]:
    """Whether a list of the pseudo action alone stands here. It is used up; what else stands here may be as well."""
    source = reader.source
    for parts in (("[",), ("{",), ('"tool_name"',), (":",), DIRECTLY, (",",), ('"parameters"',), (":",), ("{",)):
        yield from source.space()
        if not (yield from source.accept(*parts)):
            return False
    for part in ("}", "}", "]", FENCE):
        yield from source.space()
        yield from source.accept(part)
    return True


FORMATS = (
    Format(
        names=("command_r", "command-r", "command_r_plus"),
        summary="Action: and a fenced JSON list (Command R and R+)",
        openers=(CALL,),
        read=read,
        grammar=calls(
            lambda name: (f'{{"tool_name": {quoted(name)}, "parameters": ',),
            end=("}",),
            before=(f"{CALL}\n{FENCE}json\n[",),
            after=(f"]\n{FENCE}",),
            separator=(", ",),
        ),
        # To say something the model calls a tool that nobody declared.
        triggers=lambda tools: (),
        recognises=lambda template: (
            CALL in template and ("directly-answer" in template or "directly_answer" in template)
        ),
        rank=40,
        reasoning="none",
        example=Example(
            f'{CALL}\n{FENCE}json\n[{{"tool_name": "f", "parameters": {{"x": 1}}}}]\n{FENCE}', (("f", '{"x": 1}'),)
        ),
    ),
)
