"""Reading a turn of the assistant: where thinking begins and ends, where the visible text is trimmed, and how a reader
that took something for a call by mistake gives it back as text. What a call looks like is the format's business."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading, markers

if TYPE_CHECKING:
    from antiphon.parsing.formats import Format, Reasoning

TURN_ENDS = (
    *("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<end_of_turn>", "<|role_end|>"),
    *("<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "[e~[", "<seed:eos>", "<|user|>", "<|observation|>"),
)
"""Tokens that end a turn, of many families. An engine that lets one through writes it last, and there it is no text."""


def turn_ends(format: Format) -> tuple[str, ...]:
    """The tokens that end a turn in this format."""
    return (*TURN_ENDS, *format.turn_ends)


def read_turn(reader: Reader, format: Format, reasoning: Reasoning) -> Reading[None]:
    """A turn in most formats: thinking and text alternate, with calls between."""
    source = reader.source
    openers, hints = (format.openers, format.hints) if reader.tools else ((), ())
    closers = stray_markers(format, reasoning) if reader.tools else ()
    thinking, closed, ends = reader.starts_thinking, False, turn_ends(format)
    stops = markers(*openers, *hints, *reasoning.opens, *reasoning.dropped, *ends)
    reader.messages = reasoning.messages
    while (yield from source.peek()):
        if thinking:
            yield from _think(reader, format, reasoning, openers)
            thinking, closed = False, True
            continue
        space = yield from source.space()
        if reasoning.opens and not reader.spoken and (yield from source.accept(*reasoning.opens)):
            reader.boundary(thinking=True)
            thinking = True
            continue
        if (closed or not reader.spoken) and (yield from source.accept(*reasoning.closes)):
            # A second closing marker, one after a call that was written inside the thinking, or one of no thinking.
            reader.boundary()
            continue
        if reader.calls and not reader.spoken:
            if (yield from source.close(*closers)):
                continue
            # A further call of which there is nothing but the beginning of its marker.
            yield from source.drop_cut(*openers)
        if (yield from _bare_call(reader, format)):
            continue
        reader.text(space)
        marker = yield from source.until(stops, reader.text)
        if marker and marker in (*openers, *hints):
            reader.tentative = marker in hints
            found = yield from attempt(reader, format, marker, reader.text)
            reader.tentative = False
            closed = closed and not found
        elif marker in reasoning.opens and marker:
            if thinking := _opens_thinking(reader, reasoning, marker):
                reader.boundary(thinking=True)
            else:
                reader.text(marker)
        elif marker in ends and not (yield from source.over()):
            reader.text(marker)
        elif marker:
            reader.boundary()


def _bare_call(reader: Reader, format: Format) -> Reading[bool]:
    """Read a call that no marker opens, where one may begin. When there is none, nothing is used up."""
    source = reader.source
    if not (reader.tools and format.bare and (yield from source.peek()) in format.bare):
        return False
    source.mark()
    reader.tentative = True
    found = yield from format.read(reader, "")
    reader.tentative = False
    if found:
        source.release()
    else:
        source.rewind()
    return found


def _opens_thinking(reader: Reader, reasoning: Reasoning, marker: str) -> bool:
    """Whether a marker in the midst of text, just used up, opens thinking: where it was sampled as its token. As long
    as nobody tells that, the markers do that are control tokens."""
    if reader.source.is_token(reader.source.position - len(marker)):
        return True
    return reasoning.anywhere and not marker.startswith(reader.told_thinking)


@lru_cache(maxsize=256)
def stray_markers(format: Format, reasoning: Reasoning) -> tuple[str, ...]:
    """The markers of a format that are none of the text when they stand after a call: closing ones, written twice."""
    begins = (*format.openers, *format.hints, *reasoning.opens, *reasoning.closes, *reasoning.dropped)
    return tuple(mark for mark in format.visible if not any(other.startswith(mark) for other in begins))


def _think(reader: Reader, format: Format, reasoning: Reasoning, openers: tuple[str, ...]) -> Reading[None]:
    source = reader.source
    yield from source.space()
    # Some models write the opening marker again although the prompt ended with it.
    yield from source.accept(*reasoning.opens)
    openers = openers if reader.calls_in_thinking else ()
    ends = turn_ends(format)
    stops = markers(*reasoning.closes, *openers, *ends)
    while True:
        marker = yield from source.until(stops, reader.thinking)
        if marker in ends and (yield from source.over()):
            # The turn ended in its thinking.
            yield from source.space()
            marker = ""
        if marker in ends:
            reader.thinking(marker)
        elif marker in openers and marker:
            reader.tentative = True
            yield from attempt(reader, format, marker, reader.thinking)
            reader.tentative = False
        else:
            reader.boundary(thinking=not marker)
            return


def attempt(reader: Reader, format: Format, marker: str, otherwise: Callable[[str], None]) -> Reading[bool]:
    """Read a call after its opening marker, which was just used up. When there is none, the marker was text."""
    source = reader.source
    source.position -= len(marker)
    source.mark()
    source.position += len(marker)
    calls = reader.calls
    found = yield from format.read(reader, marker)
    if found or reader.calls > calls:
        source.release()
        return True
    source.rewind()
    source.position += len(marker)
    otherwise(marker)
    return False
