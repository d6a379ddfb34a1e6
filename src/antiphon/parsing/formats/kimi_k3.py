"""Kimi K3: a reply is a row of elements, `<|open|>NAME<|sep|>…<|close|>NAME<|sep|>`: think, response, tools. Every
argument says its type, and a call's whole input may stand as one `json` element."""

import re

from antiphon.constraint import Marker, Node, Pattern, Sequence
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import calls
from antiphon.parsing.tagged.tags import Tags

OPEN, CLOSE, SEP = "<|open|>", "<|close|>", "<|sep|>"


def element(name: str) -> str:
    """The marker that opens an element."""
    return f"{OPEN}{name}{SEP}"


def element_end(name: str) -> str:
    """The marker that closes it."""
    return f"{CLOSE}{name}{SEP}"


def _spellings(begin: str, *names: str) -> tuple[str, ...]:
    """The markers of these elements, as they are and as decoders write them that put spaces around tokens."""
    return tuple(f"{begin}{space}{name}{space}{SEP}" for space in ("", " ") for name in names)


def _opened(names: str) -> re.Pattern[str]:
    return re.compile(rf"<\|open\|>\s*(?:{names})\b[^|]*<\|sep\|>")


def _closed(names: str) -> re.Pattern[str]:
    return re.compile(rf"<\|close\|>\s*(?:{names})\s*<\|sep\|>")


_TAGS = Tags(
    words=("tools", "call", "argument", "json", "message"),
    begins=(OPEN, CLOSE),
    end=SEP,
    broken=re.compile(r"<\|(?!s|\Z)"),
    escaped=True,
    patterns=(
        ("block", _opened("tools")),
        ("block_end", _closed("tools|message|json")),
        ("call", _opened("call")),
        ("call_end", _closed("call")),
        ("parameter", _opened("argument")),
        ("parameter_end", _closed("argument")),
        ("json", _opened("json")),
    ),
)


def _call(name: str) -> Node:
    return Sequence((Marker(f'{OPEN}call tool="{name}" index="'), Pattern("[1-9][0-9]?"), Marker(f'"{SEP}')))


FORMATS = (
    Format(
        names=("kimi_k3",),
        summary="typed arguments in <|open|>…<|sep|> elements (Kimi K3)",
        openers=(*_spellings(OPEN, "tools"), OPEN + "call tool="),
        visible=(OPEN, CLOSE, SEP),
        turn_ends=("<|end_of_msg|>",),
        read=tagged(_TAGS),
        recognises=lambda template: OPEN in template and SEP in template,
        rank=60,
        reasoning="kimi_k3",
        grammar=calls(
            before=element("tools"),
            call=_call,
            parameter=lambda name, kind: (
                f'{OPEN}argument key="{name}" type="{"number" if kind == "integer" else kind}"{SEP}'
            ),
            value_end=element_end("argument"),
            call_end=element_end("call"),
            after=element_end("tools"),
        ),
        example=Example(
            f'{element("tools")}{OPEN}call tool="f" index="1"{SEP}{OPEN}argument key="x" type="string"{SEP}a b'
            + element_end("argument")
            + element_end("call")
            + element_end("tools"),
            (("f", '{"x":"a b"}'),),
        ),
    ),
)

REASONINGS = (
    Reasoning(
        names=("kimi_k3",),
        summary="a think element, then a response element (Kimi K3)",
        opens=_spellings(OPEN, "think"),
        closes=_spellings(CLOSE, "think"),
        dropped=(*_spellings(OPEN, "response"), *_spellings(CLOSE, "response", "message", "tools")),
        messages=True,
        anywhere=True,
        recognises=lambda template: OPEN in template and SEP in template,
        rank=40,
    ),
)
