"""Muse: a reply is a row of messages, each with a header that says who it is for. What it tells itself is thinking,
what it tells the user is text, what it tells a tool is a call in `<atem:function_calls>` tags, and what it tells the
developer nobody reads."""

from __future__ import annotations

import re

from antiphon.parsing.formats import Example, Format, Reasoning
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, markers
from antiphon.parsing.tagged.calls import tagged
from antiphon.parsing.tagged.grammar import invocations
from antiphon.parsing.tagged.tags import invokes
from antiphon.parsing.turn import attempt

OPEN, CLOSE = "<atem:function_calls>", "</atem:function_calls>"
START, MESSAGE, END, TURN = "<|start|>", "<|message|>", "<|eom|>", "<|eot|>"
SELF, USER, DEVELOPER = "self", "user", "developer"
_TO = re.compile(r"to=(\S+)")
_LONGEST_HEADER = 200


def read_turn(reader: Reader, format: Format, reasoning: Reasoning) -> Reading[None]:
    """Read message after message."""
    reader.messages = True
    recipient = SELF if reader.starts_thinking else USER
    begun = reader.starts_thinking or not (yield from _header_ahead(reader))
    while True:
        if not begun:
            recipient = yield from _header(reader)
        reader.boundary(thinking=recipient == SELF)
        ended = yield from _body(reader, format, recipient)
        if not ended:
            return
        # Where nothing follows that looks like a header, the text goes on.
        recipient = USER
        begun = ended != START and not (yield from _header_ahead(reader))


def _header_ahead(reader: Reader) -> Reading[bool]:
    """Whether a header stands here: ` to=…<|message|>`, perhaps after `<|start|>assistant`."""
    space, _ = yield from reader.source.past_space()
    return (yield from reader.source.stands(START, "to=", MESSAGE, "assistant to=", offset=len(space)))


def _header(reader: Reader) -> Reading[str]:
    """Whom the message that begins here is for."""
    source = reader.source
    header: list[str] = []
    yield from source.until(markers(MESSAGE), header.append)
    found = _TO.search("".join(header)[:_LONGEST_HEADER])
    return found[1] if found else ""


def _headers(reader: Reader) -> tuple[str, ...]:
    """The headers that begin a message although nothing ended the one before."""
    recipients = (SELF, USER, DEVELOPER, *reader.tools)
    return tuple(f"{role}to={recipient}{MESSAGE}" for recipient in recipients for role in ("", "assistant "))


def _body(reader: Reader, format: Format, recipient: str) -> Reading[str]:
    """A message's text and calls, up to the marker that ends it, which is used up, or the header that does, which is
    not; empty at the end of the output."""
    source = reader.source
    put = reader.thinking if recipient == SELF else reader.text
    if recipient == DEVELOPER and recipient not in reader.tools:
        put = _unread
    openers, headers = format.openers if reader.tools else (), _headers(reader)
    while True:
        marker = yield from source.until(markers(START, END, TURN, *headers, *openers), put)
        source.position -= len(marker) if marker in headers else 0
        if marker not in openers or not marker:
            return marker
        reader.tentative = put == reader.thinking
        if (yield from attempt(reader, format, marker, put)):
            # A call ends what came before it, thinking too.
            put = reader.text
            reader.boundary()
        reader.tentative = False


def _unread(text: str) -> None:
    """Where text goes that is not for whoever reads the reply."""


FORMATS = (
    Format(
        names=("muse", "muse_glimmer", "musespark1x"),
        summary="<atem:invoke> in <atem:function_calls> tags, messages addressed to=… (Muse)",
        openers=(OPEN, "<atem:invoke"),
        visible=(CLOSE, START, MESSAGE, END, TURN),
        read=tagged(invokes("atem:function_calls", prefix="atem:")),
        read_turn=read_turn,
        recognises=lambda template: OPEN in template,
        rank=65,
        reasoning="muse",
        grammar=invocations(OPEN, CLOSE, "atem:"),
        example=Example(
            f'{OPEN}\n<atem:invoke name="f">\n<atem:parameter name="x">a b</atem:parameter>\n</atem:invoke>\n{CLOSE}',
            (("f", '{"x":"a b"}'),),
        ),
    ),
)

REASONINGS = (
    Reasoning(
        names=("muse", "muse_glimmer", "musespark1x"),
        summary="messages addressed to=self (Muse)",
        opens=("to=self" + MESSAGE,),
        closes=(END,),
        recognises=lambda template: OPEN in template,
        rank=60,
    ),
)
