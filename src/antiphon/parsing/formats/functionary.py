"""MeetKai's Functionary: 3.1 writes `<function=NAME>{…}</function>`, 3.2 sends every message to a recipient that its
first line names, `>>>NAME` for a call and `>>>all` for text."""

from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import named_call, written_name
from antiphon.parsing.json.grammar import calls
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, markers
from antiphon.parsing.turn import turn_ends

OPEN, CLOSE, TO, ALL = "<function=", "</function>", ">>>", "all"


def read(reader: Reader, opener: str) -> Reading[bool]:
    """One call of version 3.1, after `<function=`."""
    source = reader.source
    name = reader.resolve((yield from written_name(source)))
    if name is None or not (yield from source.accept(">")):
        return False
    _, first = yield from source.past_space()
    if first not in ("{", "<"):
        return False
    source.barriers = (CLOSE,)
    yield from named_call(reader, name)
    yield from source.space()
    yield from source.close(CLOSE)
    source.barriers = ()
    return True


def read_turn(reader: Reader, format: Format, reasoning: Reasoning) -> Reading[None]:
    """The messages of version 3.2. The prompt ends with the first `>>>`."""
    source = reader.source
    reader.messages = True
    yield from source.space()
    yield from source.accept(TO)
    name = yield from _recipient(reader)
    while (yield from source.peek()):
        if name not in ("", ALL):
            source.barriers = (TO,)
            yield from named_call(reader, name)
            source.barriers = ()
        name = ""
        while not name:
            marker = yield from source.until(markers(TO, *turn_ends(format)), reader.text)
            if marker != TO and (yield from source.over()):
                return
            name = (yield from _recipient(reader)) if marker == TO else ""
            if name:
                reader.boundary()
            else:
                reader.text(marker)


def _recipient(reader: Reader) -> Reading[str]:
    """The recipient whose line stands here, used up; empty, and nothing used up, where none does."""
    source = reader.source
    source.mark()
    written = yield from written_name(source)
    following = yield from source.accept("\n", "\r\n")
    if following and written == ALL:
        source.release()
        return ALL
    name = reader.resolve(written) if written in reader.tools and following else None
    if name is None:
        source.rewind()
        return ""
    source.release()
    return name


def _unused(reader: Reader, opener: str) -> Reading[bool]:
    return False
    yield


FORMATS = (
    Format(
        names=("functionary_v3_1", "functionary-v3.1", "functionary31"),
        summary="<function=NAME>{…}</function> (Functionary 3.1, Llama 3.1 by prompt)",
        openers=(OPEN,),
        visible=(CLOSE,),
        read=read,
        grammar=calls(lambda name: (f"{OPEN}{name}>",), end=(CLOSE,)),
        recognises=lambda template: OPEN in template and "<parameter=" not in template,
        rank=32,
        example=Example('<function=f>{"x": 1}</function>', (("f", '{"x": 1}'),)),
    ),
    Format(
        names=("functionary_v3_2", "functionary-v3.2", "functionary32", "functionary"),
        summary=">>>NAME and JSON, >>>all and text (Functionary 3.2)",
        read=_unused,
        read_turn=read_turn,
        grammar=calls(lambda name: (f"{name}\n",), separator=(TO,)),
        # A call that opens the reply begins with the tool's name alone.
        triggers=lambda tools: (),
        recognises=lambda template: ">>>all" in template or f"'{TO}'" in template or f'"{TO}"' in template,
        rank=50,
        example=Example('f\n{"x": 1}', (("f", '{"x": 1}'),)),
    ),
)
