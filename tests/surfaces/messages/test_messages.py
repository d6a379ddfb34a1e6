"""The Messages API over a real socket."""

from __future__ import annotations

from typing import Any


async def test_a_plain_reply_has_every_key_of_the_message_object(server: Any) -> None:
    """Unused keys are null, not absent: clients read them without asking."""
    status, headers, message = await server.post(server.ask())
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["request-id"].startswith("req_")
    assert message.pop("id").startswith("msg_")
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hello there"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "diagnostics": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"thinking_tokens": 0},
            "server_tool_use": None,
            "service_tier": "standard",
            "inference_geo": "not_available",
            "speed": "standard",
        },
    }


async def test_a_budget_for_all_thinking_of_a_turn_may_be_above_the_limit_of_a_reply(server: Any) -> None:
    """Which it is where thinking is interleaved with calls; elsewhere it must leave room for an answer. Where tokens
    are only counted, none are written."""
    asked = server.ask(max_tokens=200, thinking={"type": "enabled", "budget_tokens": 4000})
    status, _, failure = await server.post(asked)
    assert (status, failure["error"]["message"]) == (400, "`max_tokens` must be greater than `thinking.budget_tokens`.")
    interleaved = {"anthropic-beta": "a-2025-01-01,interleaved-thinking-2025-05-14"}
    assert (await server.post(asked, **interleaved))[0] == 200
    assert (await server.post(asked, "/v1/messages/count_tokens"))[0] == 200
