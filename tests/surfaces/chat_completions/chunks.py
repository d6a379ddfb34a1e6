"""The chunks of a streamed chat completion, and the grammar of such a stream, written independently of the encoder."""

from __future__ import annotations

import json
from typing import Any

MEMBERS = {"function": "arguments", "custom": "input"}
"""What has the input of a call, by its type."""


def chunks(raw: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream without its pings. Asserts that the stream is legal and ends once: with [DONE], or with
    an error."""
    text = raw.decode("utf-8")
    assert text.endswith("\n\n")
    lines = [line for line in text.split("\n\n")[:-1] if line != ": ping"]
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    done = lines[-1] == "data: [DONE]"
    found = [json.loads(line[6:]) for line in (lines[:-1] if done else lines)]
    assert done != ("error" in found[-1])
    _check(found if done else found[:-1], done)
    return found


def _check(found: list[dict[str, Any]], done: bool) -> None:
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in found}) <= 1
    reason, calls = None, 0
    for place, chunk in enumerate(found):
        if not chunk["choices"]:
            assert reason, "usage comes after the finish"
            assert chunk["usage"]
            continue
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert reason is None, "a delta after the finish"
        assert ("role" in choice["delta"]) == (place == 0)
        for call in choice["delta"].get("tool_calls", ()):
            if "id" in call:
                assert call["index"] == calls
                assert call[call["type"]][MEMBERS[call["type"]]] == ""
                calls += 1
            assert call["index"] == calls - 1
        reason = choice["finish_reason"]
        assert not (reason and choice["delta"])
    assert not done or reason


def told(raw: bytes) -> dict[str, Any]:
    """The message that a stream amounts to, with its finish reason."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
    for chunk in chunks(raw):
        for choice in chunk.get("choices", ()):
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["reasoning_content"] += delta.get("reasoning_content") or ""
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    message["tool_calls"].append({**call, "function": dict(call["function"])})
                else:
                    message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
            message["finish_reason"] = choice["finish_reason"]
    return message
