"""What the reference server refuses."""

from __future__ import annotations

import base64
from typing import Any

_TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}
WINDOW = 1500


class Refused(Exception):
    """A request that is wrong: the status, and what the envelope says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def refuse(held: object, message: str, status: int = 400) -> None:
    """Raises Refused if this holds."""
    if held:
        raise Refused(status, message)


def examine(body: Any, models: set[str], *, counting: bool = False) -> None:
    """Raises Refused for what is wrong with the body of a message."""
    refuse(not isinstance(body, dict), "the body is not an object")
    for name in ("model", "messages", *(() if counting else ("max_tokens",))):
        refuse(name not in body, f"{name}: Field required")
    refuse(body["model"] not in models, f"model: {body['model']}", 404)
    limit = body.get("max_tokens", 1)
    refuse(type(limit) is not int or limit < 1, "max_tokens: should be a positive integer")
    for name, least, most in (("temperature", 0, 1), ("top_p", 0, 1)):
        value = body.get(name, 0.5)
        refuse(not isinstance(value, int | float) or not least <= value <= most, f"{name}: out of range")
    refuse(not isinstance(body.get("stop_sequences", []), list), "stop_sequences: should be a list")
    _examine_thinking(body)
    _examine_tools(body)
    _examine_turns(body["messages"])
    wanted = (body.get("output_config") or {}).get("format")
    refuse(wanted is not None and not _is_schema(wanted.get("schema")), "output_config.format: not a schema")


def _examine_thinking(body: dict[str, Any]) -> None:
    thinking = body.get("thinking") or {"type": "disabled"}
    refuse(thinking.get("type") not in ("enabled", "disabled"), "thinking.type: unknown")
    refuse(thinking.get("budget_tokens", 0) >= body.get("max_tokens", 1), "thinking.budget_tokens: too large")


def _examine_tools(body: dict[str, Any]) -> None:
    tools = body.get("tools") or []
    names = [tool.get("name") for tool in tools]
    refuse(len(set(names)) != len(names), "tools: Tool names must be unique.")
    for tool in tools:
        schema = tool.get("input_schema", {"type": "object"})
        refuse(schema.get("type") != "object" or not _is_schema(schema), "tools: not a schema of an object")
    choice = body.get("tool_choice") or {}
    refuse(choice.get("type") == "tool" and choice.get("name") not in names, "tool_choice: no such tool")


def _is_schema(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return schema.get("type", "object") in _TYPES and all(map(_is_schema, inner))


def _examine_turns(turns: Any) -> None:
    refuse(not isinstance(turns, list), "messages: should be a list")
    refuse(not turns, "messages: at least one message is required")
    waiting: list[str] = []
    for turn in turns:
        refuse(turn.get("role") not in ("user", "assistant"), "messages: unknown role")
        blocks = turn["content"] if isinstance(turn["content"], list) else []
        results = [block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"]
        missing = [id for id in waiting if id not in results]
        refuse(missing, f"`tool_use` ids were found without `tool_result` blocks: {missing}")
        refuse(set(results) - set(waiting), f"unexpected `tool_use_id`: {results}")
        waiting = [block["id"] for block in blocks if block.get("type") == "tool_use"]
        _examine_documents(blocks)


def _examine_documents(blocks: list[dict[str, Any]]) -> None:
    documents = [block for block in blocks if block.get("type") == "document"]
    cited = {bool((block.get("citations") or {}).get("enabled")) for block in documents}
    refuse(len(cited) > 1, "citations: must be enabled for all documents or none")
    for block in blocks:
        if block.get("type") == "image":
            refuse(not base64.b64decode(block["source"]["data"]).startswith(b"\x89PNG"), "image: not a picture")
