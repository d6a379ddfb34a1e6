"""What the reference server says: a model of a few rules, which counts words as tokens."""

from __future__ import annotations

import json
from typing import Any

WORDS = "Hello there! This is what a very small model has to say about that, and it says it at some length."
FACTS = "It has 97 steps."


def words_of(value: Any) -> list[str]:
    """All words of a part of a request, in order."""
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [word for each in value for word in words_of(each)]
    if isinstance(value, dict):
        return [word for key, each in value.items() if key not in _SILENT for word in words_of(each)]
    return [str(value)] if value is not None else []


_SILENT = {"type", "role", "cache_control", "media_type", "signature", "is_error", "citations", "tool_use_id"}


def prompt_of(body: dict[str, Any]) -> list[str]:
    """The words of a whole prompt."""
    return ["<start>", *words_of(body.get("system")), *words_of(body.get("tools")), *words_of(body.get("messages"))]


def sample(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """A value that matches a schema."""
    root = root or schema
    if "$ref" in schema:
        return sample(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], root)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            members = schema.get("properties", {})
            return {name: sample(members[name], root) for name in schema.get("required", members)}
        case "array":
            return [sample(schema["items"], root)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
    return "said"


def content_of(body: dict[str, Any], ids: Any) -> tuple[list[dict[str, Any]], str, str | None]:
    """The blocks of a reply to a request, why it ended, and the stop sequence that it met."""
    thinking = (body.get("thinking") or {}).get("type") == "enabled"
    blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}] if thinking else []
    choice = body.get("tool_choice") or {}
    tools = body.get("tools") or []
    if choice.get("type") in ("any", "tool"):
        tool = next(each for each in tools if choice["type"] == "any" or each["name"] == choice["name"])
        schema = tool.get("input_schema") or {"type": "object", "properties": {"command": {"type": "string"}}}
        use = {"type": "tool_use", "id": f"toolu_{next(ids)}", "name": tool["name"], "input": sample(schema)}
        return [*blocks, use], "tool_use", None
    wanted = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    if wanted:
        return [*blocks, {"type": "text", "text": json.dumps(sample(wanted))}], "end_turn", None
    said = WORDS.split()
    text, reason = " ".join(said[: body["max_tokens"]]), "end_turn" if len(said) <= body["max_tokens"] else "max_tokens"
    for stop in body.get("stop_sequences") or []:
        if stop in text:
            text, reason = text[: text.index(stop)], "stop_sequence"
    met = next((stop for stop in body.get("stop_sequences") or [] if reason == "stop_sequence"), None)
    block: dict[str, Any] = {"type": "text", "text": text}
    if source := _cited(body):
        begin = source.index(FACTS)
        block["citations"] = [
            {
                "type": "char_location",
                "cited_text": FACTS,
                "document_index": 0,
                "document_title": "Lighthouses",
                "start_char_index": begin,
                "end_char_index": begin + len(FACTS),
            }
        ]
    return [*blocks, block], reason, met


def _cited(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    for block in content if isinstance(content, list) else []:
        if block.get("type") == "document" and (block.get("citations") or {}).get("enabled"):
            return str(block["source"].get("data", ""))
    return ""


def events_of(message: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream that tells of a message."""
    usage = message["usage"]
    start = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    events: list[tuple[str, dict[str, Any]]] = [("message_start", {"message": start}), ("ping", {})]
    for index, block in enumerate(message["content"]):
        begun, deltas = _pieces(block)
        events.append(("content_block_start", {"index": index, "content_block": begun}))
        events += [("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        events.append(("content_block_stop", {"index": index}))
    closing = {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]}
    events.append(("message_delta", {"delta": closing, "usage": usage}))
    events.append(("message_stop", {}))
    return [(name, {"type": name, **value}) for name, value in events]


def _pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "tool_use":
        written = json.dumps(block["input"])
        parts = [written[:5], written[5:]]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    if block["type"] == "thinking":
        said = {"type": "thinking_delta", "thinking": block["thinking"]}
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {**block, "thinking": "", "signature": ""}, [said, signed]
    words = block["text"].split(" ")
    deltas = [{"type": "text_delta", "text": (" " if index else "") + word} for index, word in enumerate(words)]
    cited = [{"type": "citations_delta", "citation": each} for each in block.get("citations", [])]
    return {"type": "text", "text": ""}, [*deltas, *cited]
