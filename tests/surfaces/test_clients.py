"""What real programs send: their recorded requests are read, and get an answer of the right shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.surfaces import order
from tests.surfaces.conftest import serving
from tests.surfaces.scripted_service import ScriptedService

FOLDER = Path(__file__).parent.parent / "clients" / "shapes"
SHAPES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


@pytest.mark.parametrize("recorded", SHAPES.values(), ids=SHAPES.keys())
async def test_a_recorded_request_is_served(recorded: dict[str, Any]) -> None:
    """B2: every request of every recorded client succeeds, but for threads, which have their own refusal."""
    kept = {"anthropic-version", "anthropic-beta", "content-type", "x-claude-code-session-id", "accept"}
    headers = {key: value for key, value in recorded["headers"].items() if key in kept}
    service = ScriptedService()
    async with (
        serving(service) as server,
        server.client.request(
            recorded["method"],
            server.url + recorded["path"],
            headers=headers,
            data=json.dumps(recorded["body"]) if recorded["body"] is not None else None,
        ) as response,
    ):
        raw = await response.read()
        if recorded["method"] == "HEAD":
            assert (response.status, raw) == (200, b"")
        elif "thread" in recorded["body"]:
            assert response.status == 400
            assert json.loads(raw)["error"]["details"]["error_code"] == "thread_unsupported_request"
        elif "count_tokens" in recorded["path"]:
            assert json.loads(raw)["input_tokens"] == 7
        elif recorded["body"].get("stream"):
            assert order.check(order.frames(raw)) == "message_stop"
        else:
            assert json.loads(raw)["type"] == "message"


@pytest.mark.parametrize("user", ["user_abc_account__session_12345678-aaaa", '{"session_id": "12345678-aaaa"}'])
async def test_a_session_is_known_by_header_or_user_id(server: Any, user: str) -> None:
    """Both ways in which agents tell which conversation a request belongs to; the header counts first."""
    await server.post(server.ask(metadata={"user_id": user}))
    assert server.service.prepared[-1][3] == "12345678-aaaa"
    await server.post(server.ask(metadata={"user_id": user}), x_claude_code_session_id="s")
    assert server.service.prepared[-1][3] == "s"


async def test_billing_lines_and_deferred_tools_of_an_agent_are_gone(server: Any) -> None:
    """The recorded request of a coding assistant: nothing of its bookkeeping reaches the model."""
    await server.post(SHAPES["claude-code-2.1.330-read-turn2"]["body"] | {"stream": False})
    conversation = server.service.conversation
    assert "billing" not in conversation.system
    assert [tool.name for tool in conversation.tools] == ["Read"]
