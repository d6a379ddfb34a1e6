"""Whatever is sent to the Responses API, the answer is in OpenAI's envelope, soon, and never the server's own failure.

As `messages/test_fuzz.py` does it, from the recorded requests of programs and from one that has every kind of item and
tool. `FUZZ=20000 make test TESTS=tests/surfaces/responses/test_fuzz.py` looks harder.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from antiphon import surfaces
from antiphon.serving.model import Choices
from tests.serving.served import served
from tests.surfaces.messages.test_fuzz import RULES, answer, body_of
from tests.surfaces.response_order import check, frames

ROUNDS = int(os.environ.get("FUZZ", "300"))
SHAPES = sorted((Path(__file__).parents[2] / "clients" / "shapes" / "responses").glob("*.json"))
LARK = 'start: "a" line+\nline: /[a-z]+/ LF\n%import common.LF'
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
SCREEN = {"type": "computer_screenshot", "image_url": PIXEL}
NUMBERED = {"type": "object", "properties": {"a": {"type": "integer"}}}
EVERYTHING: dict[str, Any] = {
    "model": "local-model",
    "instructions": "Be brief.",
    "input": [
        {"role": "developer", "content": "Rules."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi, tool"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "function_call", "call_id": "c1", "name": "Read", "arguments": '{"a": 1}'},
        {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "a\n"},
        {"type": "shell_call", "call_id": "c3", "action": {"commands": ["ls"]}, "status": "completed"},
        {"type": "local_shell_call", "id": "c4", "call_id": "c4", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "apply_patch_call", "call_id": "c5", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "computer_call", "call_id": "c6", "action": {"type": "screenshot"}, "pending_safety_checks": []},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "x"}]},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
        {
            "type": "shell_call_output",
            "call_id": "c3",
            "output": [{"stdout": "a\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 1}}],
        },
        {"type": "local_shell_call_output", "id": "c4", "output": "z"},
        {"type": "apply_patch_call_output", "call_id": "c5", "status": "failed", "output": "no such file"},
        {
            "type": "computer_call_output",
            "call_id": "c6",
            "output": {"type": "computer_screenshot", "image_url": PIXEL},
        },
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "m", "tools": [{"name": "go", "input_schema": {}}]},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "m", "name": "go", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": False, "reason": "No."},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "So."}]},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "elsewhere"},
        {"type": "compaction_trigger"},
        {"role": "user", "content": [{"type": "input_file", "filename": "a.txt", "file_data": "aGVsbG8="}]},
    ],
    "tools": [
        {
            "type": "function",
            "name": "Read",
            "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
        },
        {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": LARK}},
        {"type": "shell"},
        {"type": "local_shell"},
        {"type": "apply_patch"},
        {"type": "computer_use_preview", "display_width": 10, "display_height": 10, "environment": "linux"},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "Read"}]},
        {"type": "web_search", "filters": {"allowed_domains": ["a.example"]}},
        {"type": "mcp", "server_label": "m", "server_url": "http://127.0.0.1:1/mcp", "require_approval": "never"},
        {"type": "tool_search", "execution": "client"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "Read"}]},
    "text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "metadata": {"a": "b"},
    "max_output_tokens": 50,
    "truncation": "auto",
    "context_management": [{"type": "compaction", "compact_threshold": 100}],
    "store": False,
}


async def test_every_kind_of_item_and_tool_is_taken() -> None:
    """As it stands, the request is a good one."""
    service, _ = await served(*RULES, choices=Choices(name="local-model"))
    app = surfaces.build(service, surfaces.Options(seal_key=b"0" * 32))
    headers = {"host": "localhost", "content-type": "application/json"}
    body = json.dumps({**EVERYTHING, "text": None, "context_management": None}).encode()
    status, told, text = await answer(app, "/v1/responses", headers, body)
    assert status == 200, text
    assert told["antiphon-ignored"] == "tools.web_search, tools.mcp"


@pytest.mark.parametrize("part", range(2))
async def test_fuzz(part: int) -> None:
    """No mutated request gets a 5xx but for what the engine was told to fail at, hangs, or leaves the envelope; every
    stream is legal."""
    service, engine = await served(*RULES, window=1_000_000, choices=Choices(name="local-model"))
    app = surfaces.build(service, surfaces.Options(seal_key=b"0" * 32, ping_interval=5))
    recorded = [json.loads(path.read_bytes()) for path in SHAPES]
    plain = {"body": {"model": "local-model", "input": "Hi"}}
    shapes = [*recorded, {"body": EVERYTHING}, {"body": EVERYTHING}, plain]
    good = 0
    for number in range(part, ROUNDS, 2):
        source = random.Random(number)
        path = "/v1/responses/input_tokens" if source.random() < 0.1 else "/v1/responses"
        headers = {"host": "localhost", "content-type": "application/json"}
        status, told, text = await answer(app, path, headers, body_of(source.choice(shapes), source))
        # The script fails where it is told to, and heeds no demand on its output.
        failed = b"script says to fail" in text or b"the constraints of the request" in text
        assert status < 500 or failed, (number, text)
        if status >= 400:
            error = json.loads(text)["error"]
            assert error["message"], number
            assert error["type"], number
            assert {"code", "param"} <= error.keys(), number
        elif told["content-type"].startswith("text/event-stream"):
            assert (check(frames(text), typed=False)["status"] == "failed") == failed, number
            good += 1
        else:
            json.loads(text)
            good += 1
    assert good > ROUNDS / 16
    assert engine.running == 0
