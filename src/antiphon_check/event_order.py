"""The order that the events of a stream may come in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antiphon_check.events import Event

_DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "mcp_tool_use": {"input_json_delta"},
    "compaction": {"compaction_delta"},
}
"""The deltas that each kind of block may have; blocks of other kinds come whole."""


def misplaced(events: Iterable[Event]) -> str:
    """The first thing wrong with the order of a whole stream's events; empty where all is well."""
    order = _Order()
    for number, event in enumerate(events):
        if wrong := order.take(event):
            return f"event {number} ({event.type or 'without a type'}): {wrong}"
    return "" if order.stage == "ended" else "the stream ended without message_stop"


class _Order:
    """Where a stream stands: its `stage` is `before`, `blocks`, `closing` or `ended`."""

    def __init__(self) -> None:
        self.stage = "before"
        self._open: str | None = None
        self._index = -1

    def take(self, event: Event) -> str:
        """What is wrong with this event coming next."""
        kind, value = event.type, event.value()
        if kind == "ping":
            return ""
        if kind == "error":
            return f"the stream ended in an error: {event.data}"
        if self.stage == "ended":
            return "nothing may follow message_stop"
        if (kind == "message_start") != (self.stage == "before"):
            return "message_start must be the first event, and the only one of its kind"
        match kind:
            case "message_start":
                self.stage = "blocks"
                return ""
            case "content_block_start":
                return self._begin(value)
            case "content_block_delta":
                return self._grow(value)
            case "content_block_stop":
                return self._end(value)
            case "message_delta":
                self.stage = "closing"
                return self._none_open()
            case "message_stop":
                before, self.stage = self.stage, "ended"
                return "" if before == "closing" else "message_delta must come before it"
        return "the SDKs know no event of this type"

    def _begin(self, value: dict[str, Any]) -> str:
        if wrong := self._none_open():
            return wrong
        if self.stage != "blocks":
            return "no block may begin after message_delta"
        self._index += 1
        if value.get("index") != self._index:
            return f"its index is {value.get('index')!r}, the next one is {self._index}"
        block = value.get("content_block")
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            return "content_block has no type"
        self._open = block["type"]
        return ""

    def _grow(self, value: dict[str, Any]) -> str:
        if wrong := self._is_open(value):
            return wrong
        delta = value.get("delta")
        kind = delta.get("type") if isinstance(delta, dict) else None
        known = kind in _DELTAS.get(self._open or "", set())
        return "" if known else f"{kind!r} is not a delta of a block of type {self._open!r}"

    def _end(self, value: dict[str, Any]) -> str:
        wrong = self._is_open(value)
        self._open = None
        return wrong

    def _none_open(self) -> str:
        return "" if self._open is None else f"block {self._index} is still open"

    def _is_open(self, value: dict[str, Any]) -> str:
        right = self._open is not None and value.get("index") == self._index
        return "" if right else f"block {value.get('index')!r} is not open"
