"""DeepSeek V3, R1 and V3.1: calls between full-width markers. V3 and R1 write the arguments in a JSON fence after
`function` and the name, V3.1 writes name and arguments alone; one reader takes both."""

from collections.abc import Callable

from antiphon.constraint import Marker
from antiphon.parsing.formats import Example, Format, Grammar
from antiphon.parsing.json.calls import named_call, written_name
from antiphon.parsing.json.grammar import Parts, calls
from antiphon.parsing.json.marked_calls import sections
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading


def _spellings(words: str) -> tuple[str, ...]:
    """A marker as the vocabulary has it, then the look-alikes that models spell out by hand."""
    bars, joints = "｜|", ("▁", "_", " ")
    return tuple(f"<{bar}{joint.join(words.split())}{bar}>" for bar in bars for joint in joints)


CALLS, CALLS_END = _spellings("tool calls begin"), _spellings("tool calls end")
CALL, CALL_END = _spellings("tool call begin"), _spellings("tool call end")
SEPARATOR = _spellings("tool sep")
FENCE = "```"


def _call(reader: Reader) -> Reading[bool]:
    source = reader.source
    yield from source.space()
    written = yield from written_name(source)
    yield from source.space()
    separated = yield from source.accept(*SEPARATOR)
    yield from source.space()
    first = yield from source.peek()
    if separated and written == "function" and first not in ("", "{", "`"):
        written = yield from written_name(source)
        yield from source.space()
        first = yield from source.peek()
    name = reader.resolve(written)
    if name is None or not (separated or first in ("{", "`")):
        return False
    if (yield from source.accept(FENCE)):
        yield from source.close("json")
    yield from named_call(reader, name)
    yield from source.space()
    yield from source.close(FENCE)
    yield from source.space()
    yield from source.close(*CALL_END)
    return True


def _grammar(head: Callable[[str], Parts], end: Parts = (), separator: Parts = ()) -> Grammar:
    return calls(
        head,
        begin=(Marker(CALL[0]),),
        end=(*end, Marker(CALL_END[0])),
        before=(Marker(CALLS[0]),),
        after=(Marker(CALLS_END[0]),),
        separator=separator,
    )


_read = sections(opens=CALLS, calls=CALL, ends=CALLS_END, barriers=(*CALL_END, *CALLS_END, FENCE), read_call=_call)


def _v3(template: str) -> bool:
    return CALLS[0] in template and f"function{SEPARATOR[0]}" in template.replace("' + '", "")


FORMATS = (
    Format(
        names=("deepseek_v3", "deepseekv3", "deepseek-v3"),
        summary="full-width markers around a JSON fence (DeepSeek V3, R1)",
        openers=(*CALLS, *CALL),
        visible=(*CALLS_END, *CALL_END, *SEPARATOR),
        read=_read,
        grammar=_grammar(
            lambda name: ("function", Marker(SEPARATOR[0]), f"{name}\n{FENCE}json\n"), (f"\n{FENCE}",), ("\n",)
        ),
        recognises=lambda template: CALLS[0] in template and ("```json" in template or _v3(template)),
        rank=35,
        example=Example(
            f'{CALLS[0]}{CALL[0]}function{SEPARATOR[0]}f\n```json\n{{"x":1}}\n```{CALL_END[0]}{CALLS_END[0]}',
            (("f", '{"x":1}'),),
        ),
    ),
    Format(
        names=("deepseek_v31", "deepseekv31", "deepseek-v3.1"),
        summary="full-width markers around a name and JSON (DeepSeek V3.1)",
        openers=(*CALLS, *CALL),
        visible=(*CALLS_END, *CALL_END, *SEPARATOR),
        read=_read,
        grammar=_grammar(lambda name: (name, Marker(SEPARATOR[0]))),
        recognises=lambda template: CALLS[0] in template,
        rank=34,
        example=Example(f'{CALLS[0]}{CALL[0]}f{SEPARATOR[0]}{{"x":1}}{CALL_END[0]}{CALLS_END[0]}', (("f", '{"x":1}'),)),
    ),
)
