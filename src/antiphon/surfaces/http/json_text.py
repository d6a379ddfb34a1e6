"""Text in JSON, where clients and models leave half a character: strings cut between two UTF-16 units."""

from __future__ import annotations

import codecs
import re

import msgspec

_to_json = msgspec.json.Encoder().encode
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def whole(body: bytes) -> bytes:
    """The body with half surrogate pairs replaced: programs that cut strings between two UTF-16 units send them,
    and they stand for no character. Without a byte order mark, too, which some programs put before a text and a reader
    may ignore (RFC 8259, 8.1)."""
    body = body.removeprefix(codecs.BOM_UTF8)
    # Looking for one byte is ten times as fast as for three, and a body that is mostly a picture has none.
    if b"\\" not in body or (b"\\ud" not in body and b"\\uD" not in body):
        return body
    return _ESCAPES.sub(lambda found: b"\\ufffd" if found[1] else found[0], body)


def text_json(text: str) -> bytes:
    """A string as JSON. A lone surrogate, which no UTF-8 can hold, becomes a replacement character."""
    try:
        return _to_json(text)
    except UnicodeEncodeError:
        return _to_json(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
