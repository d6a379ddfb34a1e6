"""`cache_control` and `diagnostics`: where the client's last cache mark stands, and why a prompt missed the cache.

Engines here keep whatever they computed, marked or not; a mark only divides what is reported. It counts at the end of
the message it is in; one on a tool or in the system prompt counts at the end of both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from antiphon.prompt.prefix.predecessors import CacheMiss
from antiphon.surfaces.messages import sent
from antiphon.surfaces.messages.request import wire

_MARK = b'"cache_control"'
_anything = msgspec.json.Decoder()


class Mark(msgspec.Struct, frozen=True):
    """The last cache mark: after how many messages it stands (0: after tools and system prompt), and whether it is to
    be kept for an hour."""

    messages: int
    hour: bool


def last_mark(request: wire.Request) -> Mark | None:
    """The last mark of a request, or None."""
    if not isinstance(request.cache_control, msgspec.UnsetType):
        control = _control(_value(request.cache_control))
        if control is not None:
            return Mark(len(request.messages), control)
    for count in range(len(request.messages), 0, -1):
        content = request.messages[count - 1].content
        if isinstance(content, list) and (control := _last(content)) is not None:
            return Mark(count, control)
    for blocks in (request.system, request.tools):
        if isinstance(blocks, list) and (control := _last(blocks)) is not None:
            return Mark(0, control)
    return None


def _last(raws: Iterable[msgspec.Raw]) -> bool | None:
    """Whether the last mark in these blocks is for an hour; None where there is no mark."""
    marks = [_marked(_value(raw)) for raw in raws if _MARK in bytes(raw)]
    return next((mark for mark in reversed(marks) if mark is not None), None)


def _marked(block: Any) -> bool | None:
    if not isinstance(block, dict):
        return None
    own, content = _control(block.get("cache_control")), block.get("content")
    if own is not None or not isinstance(content, list):
        return own
    return next((mark for mark in map(_marked, reversed(content)) if mark is not None), None)


def _control(value: Any) -> bool | None:
    return value.get("ttl") == "1h" if isinstance(value, dict) else None


def _value(raw: msgspec.Raw) -> Any:
    try:
        return _anything.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None  # Whoever reads the block for what it says tells what is wrong with it.


def diagnostics(miss: CacheMiss | None) -> sent.Diagnostics:
    """The answer to a request for diagnostics."""
    if miss is None:
        return sent.Diagnostics(None)
    reason: dict[str, Any] = {"type": miss.reason}
    if miss.reason.endswith("_changed"):
        reason["cache_missed_input_tokens"] = miss.tokens
    return sent.Diagnostics(reason)
