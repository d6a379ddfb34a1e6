"""Server-sent events: reading them, and the message that they fold to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event: its name, its data as text, and when it came, in seconds."""

    name: str
    data: str
    time: float

    def value(self) -> dict[str, Any]:
        """The data; empty where it is no JSON object."""
        try:
            value = json.loads(self.data)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def type(self) -> str:
        """What kind of event it is: by its data, which is what SDKs go by."""
        return str(self.value().get("type", ""))


def parsed(lines: Iterable[tuple[str, float]]) -> Iterator[Event]:
    """The events of a stream's lines, each with its time, as the specification of event streams reads them."""
    name = ""
    data: list[str] = []
    for line, time in lines:
        if not line:
            if data:
                yield Event(name, "\n".join(data), time)
            name, data = "", []
        elif not line.startswith(":"):
            key, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if key == "event":
                name = value
            elif key == "data":
                data.append(value)


def folded(events: Iterable[Event]) -> dict[str, Any]:
    """The message that the events tell of, put together as the SDKs do it; as far as it can be made out."""
    message: dict[str, Any] = {"content": [], "usage": {}}
    for event in events:
        value = event.value()
        match event.type:
            case "message_start" if isinstance(value.get("message"), dict):
                message |= value["message"]
                message["content"] = list(message.get("content") or [])
            case "content_block_start" if isinstance(value.get("content_block"), dict):
                message["content"].append({**value["content_block"], "_input": ""})
            case "content_block_delta" if message["content"] and isinstance(value.get("delta"), dict):
                _grow(message["content"][-1], value["delta"])
            case "message_delta":
                message |= value.get("delta") or {}
                message["usage"] = {**(message.get("usage") or {}), **(value.get("usage") or {})}
                message |= {key: value[key] for key in ("context_management",) if key in value}
    for block in message["content"]:
        _close(block)
    return message


def _grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    match delta.get("type"):
        case "text_delta":
            block["text"] = block.get("text", "") + str(delta.get("text", ""))
        case "thinking_delta":
            block["thinking"] = block.get("thinking", "") + str(delta.get("thinking", ""))
        case "signature_delta":
            block["signature"] = delta.get("signature")
        case "input_json_delta":
            block["_input"] += str(delta.get("partial_json", ""))
        case "citations_delta":
            block.setdefault("citations", [])
            block["citations"] = [*(block["citations"] or []), delta.get("citation")]


def _close(block: dict[str, Any]) -> None:
    written = block.pop("_input", "")
    if written:
        try:
            block["input"] = json.loads(written)
        except ValueError:
            block["input"] = written
