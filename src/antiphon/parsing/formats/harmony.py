"""Harmony, the format of gpt-oss: a reply is a sequence of messages, each on a channel, some addressed to a tool.

`<|channel|>analysis` is thinking, `final` and unaddressed `commentary` are text, a message `to=functions.NAME` is a
call, whichever side of the channel the address stands on. Headers come bent in many ways, so a header is whatever
stands before `<|message|>`, and a body ends where any marker begins. A call's body is JSON, or parameters in tags (see
beam.py).
"""

import re
from collections.abc import Sequence as Many
from typing import Any

from antiphon.constraint import Either, Json, Literal, Marker, Node, Repeat, Sequence, Until, closed
from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.json.calls import named_call
from antiphon.parsing.json.lenient import inside
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, markers
from antiphon.parsing.tagged.calls import parameters
from antiphon.parsing.tagged.tags import Tags
from antiphon.parsing.tagged.values import Unwrapped

START, CHANNEL, MESSAGE, CONSTRAIN = "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>"
ENDS = ("<|end|>", "<|call|>", "<|return|>")

PARAMETER = "<rfl:parameter"

_TAGS = Tags(
    words=(),
    begins=("<rfl:", "</rfl:", *(marker[:-1] for marker in (START, *ENDS))),
    patterns=(
        ("block", re.compile(re.escape(START))),
        ("parameter", re.compile(r"<rfl:parameter\s[^>]*=[^>]*>")),
        ("parameter_end", re.compile(r"</rfl:parameter>")),
        ("call_end", re.compile("|".join(map(re.escape, ENDS)))),
    ),
)
_ADDRESS = re.compile(r"to=([^\s<]+)")
_CHANNEL = re.compile(re.escape(CHANNEL) + r"\s*(\w+)")
_NO_TOOLS = ("assistant", "user", "all")
_ALL = (START, CHANNEL, MESSAGE, *ENDS)
_BODY_ENDS = markers(*_ALL)
_HEADER_ENDS = markers(MESSAGE, *ENDS)


def read_turn(reader: Reader, format: Format, reasoning: Reasoning) -> Reading[None]:
    """The messages of a reply, one after the other."""
    source = reader.source
    reader.messages = True
    if reader.starts_thinking:
        yield from _spoken(reader, thinking=True)
    while (yield from source.peek()):
        space = yield from source.space()
        if (yield from source.accept(*ENDS, MESSAGE)):
            # The end of a message that has ended already, or a message without a header.
            continue
        if reader.calls and not reader.spoken and (yield from source.drop_cut(*_ALL, PARAMETER)):
            continue
        started = yield from source.accept(START, CHANNEL, "to=", CONSTRAIN, f"assistant{CHANNEL}")
        if not started:
            if reader.in_thinking:
                reader.boundary()
            reader.text(space)
            yield from _spoken(reader, thinking=False)
            continue
        source.position -= len(started)
        header, ended = yield from source.collect(_HEADER_ENDS)
        if ended == MESSAGE:
            yield from _message(reader, header)
        else:
            _unheaded(reader, header)


def _message(reader: Reader, header: str) -> Reading[None]:
    channels = _CHANNEL.findall(header)
    thinking = bool(channels) and channels[-1] == "analysis"
    addresses = [address for address in _ADDRESS.findall(header) if address not in _NO_TOOLS]
    if addresses and reader.tools:
        name = reader.resolve(addresses[-1])
        if name is not None:
            yield from _call(reader, name)
            return
    yield from _spoken(reader, thinking=thinking)


def _unheaded(reader: Reader, header: str) -> None:
    """A header that no body followed. What it says beyond a role, a channel and an address is text."""
    header = _ADDRESS.sub("", header.removeprefix(START).removeprefix("assistant"))
    text = re.sub(r"<\|\w+\|>\s*\w*", "", header).strip()
    if text:
        reader.text(text)


def _spoken(reader: Reader, *, thinking: bool) -> Reading[None]:
    """The body of a message that is thinking or text."""
    source = reader.source
    speak = reader.thinking if thinking else reader.text
    if reader.spoken or reader.in_thinking != thinking:
        reader.boundary(thinking=thinking)
    while True:
        marker = yield from source.until(_BODY_ENDS, speak)
        if marker == MESSAGE:
            continue
        if marker in (START, CHANNEL):
            source.position -= len(marker)
        return


def _call(reader: Reader, name: str) -> Reading[None]:
    source = reader.source
    source.barriers = (START, CHANNEL, *ENDS)
    space, first = yield from source.past_space()
    if first == "<" and (yield from source.stands(PARAMETER, offset=len(space))):
        yield from parameters(reader, _TAGS, name, Unwrapped)
    elif first in ("", "{", "<", '"'):
        yield from named_call(reader, name)
    else:
        yield from _raw_call(reader, name)
    source.barriers = ()


def _raw_call(reader: Reader, name: str) -> Reading[None]:
    """A call whose body is no JSON but the text itself, such as the code for `python`: the tool's first string."""
    source = reader.source
    signature = reader.signature(name)
    parameter = next(filter(signature.is_text, signature.parameters()), "code" if name == "python" else "input")
    yield from source.space()
    reader.begin(name)
    reader.argue(f'{{"{inside(parameter)}": "')
    marker = yield from source.until(_BODY_ENDS, lambda text: reader.argue(inside(text)))
    reader.argue('"}')
    reader.finish(marker != "")


_THOUGHT = Sequence(
    (Marker(CHANNEL), Literal("analysis"), Marker(MESSAGE), Until("<|end|>"), Marker(START), Literal("assistant"))
)
MAY_THINK = Either((_THOUGHT, Literal("")))


def answer(node: Node) -> Node:
    """A message on the final channel, after analysis if the model wants."""
    return Sequence((MAY_THINK, Marker(CHANNEL), Literal("final"), Marker(MESSAGE), node))


def grammar(tools: Many[tuple[str, dict[str, Any]]], most: int) -> Node:
    """Calls on the commentary channel, analysis before the first if the model wants. The token that ends the last one
    stops the model, so it is left to the engine."""
    calls = Either(
        tuple(
            Sequence((Literal(f"commentary to=functions.{name} "), Marker(CONSTRAIN), Literal("json"), *_body(schema)))
            for name, schema in tools
        )
    )
    again = Sequence((Marker("<|end|>"), Marker(START), Literal("assistant")))
    return Sequence((MAY_THINK, Repeat(Sequence((Marker(CHANNEL), calls)), 1, most, again)))


def triggers(tools: Many[tuple[str, dict[str, Any]]]) -> tuple[tuple[str, Node], ...]:
    """The address of a call, which stands before the channel or after it."""
    kind = Either((Literal(""), Literal(" json"), Sequence((Literal(" "), Marker(CONSTRAIN), Literal("json")))))
    header = Either((kind, Sequence((Marker(CHANNEL), Literal("commentary"), kind))))
    calls = tuple(Sequence((Literal(name), header, *_body(schema))) for name, schema in tools)
    return (("to=functions.", Either(calls)),)


def _body(schema: dict[str, Any]) -> tuple[Node, Node]:
    return Marker(MESSAGE), Json(closed(schema))


def unused(reader: Reader, opener: str) -> Reading[bool]:
    """What reads calls in other formats; here `read_turn` does."""
    return False
    yield


def _recognises(template: str) -> bool:
    return CHANNEL in template and MESSAGE in template


FORMATS = (
    Format(
        names=("gpt-oss", "gpt_oss", "openai", "harmony"),
        summary="messages on channels, calls addressed to=functions.NAME (gpt-oss)",
        visible=(START, CHANNEL, MESSAGE, CONSTRAIN, *ENDS),
        read=unused,
        read_turn=read_turn,
        grammar=grammar,
        triggers=triggers,
        answer=answer,
        recognises=_recognises,
        rank=60,
        reasoning="gpt-oss",
        example=Example(
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary to=functions.f "
            '<|constrain|>json<|message|>{"x":1}<|call|>',
            (("f", '{"x":1}'),),
        ),
    ),
)
REASONINGS = (
    Reasoning(
        names=("gpt-oss", "gpt_oss", "openai_gptoss", "openai", "harmony", "beam"),
        summary="the analysis channel (gpt-oss, Beam); goes with the formats of the same names",
        opens=("<|channel|>analysis<|message|>",),
        closing="<|end|><|start|>assistant<|channel|>final<|message|>",
        recognises=_recognises,
        rank=60,
    ),
)
