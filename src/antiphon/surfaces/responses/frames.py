"""The frames of a stream: an event each, with its name and its number."""

from __future__ import annotations

from typing import Any

import msgspec

_END = b"\n\n"
_to_json = msgspec.json.Encoder().encode


def frame(name: str, fields: dict[str, Any], number: int) -> bytes:
    """An event as it is sent."""
    told = _to_json({"type": name, **fields, "sequence_number": number})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), told)


def count(frames: bytes) -> int:
    """How many frames these are. JSON on one line has no empty line in it."""
    return frames.count(_END)


def split(frames: bytes) -> list[bytes]:
    """The frames one by one."""
    return [each + _END for each in frames.split(_END)[:-1]]
