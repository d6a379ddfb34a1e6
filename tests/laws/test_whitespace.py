"""White-space law: JSON that is spaced otherwise means the same, wherever it comes in."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.engines import Job
from antiphon.engines.scripted import Rule, Scripted
from antiphon.serving.model import Choices
from tests.laws.spacing import spellings
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

BARE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
"""A template that knows no tools, so that they are told as text."""
TEXTUAL = BARE.replace(
    "{{ m.content }}",
    "{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name + ' ' + c.function.arguments }}"
    "</tool_call>{% endfor %}",
)
"""A template that takes the arguments of calls as text."""
SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string", "enum": ["a b", 'c\n"d']}, "n": {"type": "integer"}},
    "required": ["place"],
    "additionalProperties": False,
}
SAID = 'Good.<tool_call>\n{"name": "look", "arguments": {"place":\n\t"a b",\r\n "n": 1}}\n</tool_call>'
BODY: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 300,
    "system": [{"type": "text", "text": "Be\n\n  brief.", "cache_control": {"type": "ephemeral"}}],
    "metadata": {"user_id": "user_a_account__session_b"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "tools": [{"name": "look", "description": "Looks.\r\n", "input_schema": SCHEMA, "strict": True}],
    "messages": [
        {"role": "user", "content": 'Look\tat "this": { "a" : 1 }'},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"place": "a  b", "n": [1, {}]}}
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "  here \n"}]},
    ],
}
BODY["max_tokens"] = 2000
DEMANDED = {
    **BODY,
    "tools": [],
    "messages": BODY["messages"][:1],
    "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
}
DEMANDED["output_config"]["format"]["schema"] = SCHEMA
CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Look  here"}]},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"place":  1}'}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ],
    "tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}],
}


@pytest.fixture(params=["native", "textual", "bare"])
async def behind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Running, Scripted]]:
    """A server over each kind of template, and the engine behind it."""
    template = {"native": {}, "textual": {"template": TEXTUAL}, "bare": {"template": BARE}}[request.param]
    service, engine = await served(Rule(text=SAID), choices=Choices(tool_call_parser="hermes"), **template)
    async with serving(service, batches=str(tmp_path / "batches")) as running:  # type: ignore[arg-type]
        yield running, engine


async def answered(server: Running, path: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer, without what is new in each."""
    status, _, told = await server.post(body, path)
    for key in ("id", "created", "request_id"):
        told.pop(key, None)
    for block in told.get("content", ()):
        block.pop("id", None)
    for choice in told.get("choices", ()):
        for call in choice["message"].get("tool_calls") or ():
            call.pop("id", None)
    return status, told


def asked(engine: Scripted) -> Job:
    return engine.jobs[-1]


@pytest.mark.parametrize("body", [BODY, DEMANDED], ids=["tools", "schema"])
async def test_a_message_means_the_same(behind: tuple[Running, Scripted], body: dict[str, Any]) -> None:
    """Whole and streamed, counted and rendered: the engine is asked for the same, and the client told the same."""
    server, engine = behind
    found = []
    for name, text in spellings(body).items():
        told = [await answered(server, f"/v1/messages{path}", text) for path in ("", "/count_tokens", "/render")]
        assert [status for status, _ in told] == [200, 200, 200], (name, told)
        told[0][1]["usage"] = told[2][1]["cached_tokens"] = None  # the second time, the prompt is cached
        streamed = text[: text.rindex(b"}")] + b',\r\n\t"stream" :\n true }'
        async with server.client.post(
            server.url + "/v1/messages", data=streamed, headers={"anthropic-version": "2023-06-01"}
        ) as response:
            events = [
                json.loads(line[5:]) for line in (await response.read()).split(b"\n") if line.startswith(b"data:")
            ]
        assert [event["type"] for event in events][-1] == "message_stop"
        assert engine.jobs[-1].prompt == engine.jobs[-2].prompt
        found.append((name, told, asked(engine)))
    for name, told, job in found[1:]:
        assert (told, job) == found[0][1:], name
