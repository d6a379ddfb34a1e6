"""No tool calls, no thinking: everything is text."""

from antiphon.parsing.formats import Format, Reasoning
from antiphon.parsing.reader import Reader
from antiphon.parsing.splitter import Reading


def _read(reader: Reader, opener: str) -> Reading[bool]:
    return False
    yield


FORMATS = (Format(names=("plain", "none"), summary="no tool calls: all output is text", read=_read),)
REASONINGS = (Reasoning(names=("none", "plain"), summary="no thinking: all output is text"),)
