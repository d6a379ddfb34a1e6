"""The grammar of a stream, written down independently of the encoder, as a state table."""

from __future__ import annotations

from typing import Any

from tests.surfaces.frames import frames

__all__ = ["check", "frames"]

DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
    "server_tool_use": {"input_json_delta"},
    "mcp_tool_use": {"input_json_delta"},
}


def check(events: list[dict[str, Any]]) -> str:
    """Walk the table; returns the terminal event. Raises AssertionError at the first illegal event."""
    state, index, kind, signed = "fresh", -1, "", False
    for event in events:
        name = event["type"]
        assert state != "over", f"{name} after the end"
        if name == "error":
            state = "over"
        elif state == "fresh":
            assert name == "message_start", name
            state = "between"
        elif name == "ping":
            pass
        elif state == "between":
            assert name in ("content_block_start", "message_delta"), name
            if name == "content_block_start":
                assert event["index"] == index + 1
                index, kind, signed, state = index + 1, event["content_block"]["type"], False, "inside"
            else:
                assert event["delta"]["stop_reason"]
                state = "told"
        elif state == "inside":
            assert name in ("content_block_delta", "content_block_stop"), name
            assert event["index"] == index
            if name == "content_block_delta":
                assert event["delta"]["type"] in DELTAS[kind]
                assert not signed, "something after the signature"
                signed = event["delta"]["type"] == "signature_delta"
            else:
                assert kind != "thinking" or signed, "a thinking block without a signature"
                state = "between"
        else:
            assert state == "told"
            assert name == "message_stop", name
            state = "over"
    assert state == "over", f"the stream ends while {state}"
    return str(events[-1]["type"])
