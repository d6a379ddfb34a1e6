"""`context_management` on the wire, with the official SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

CLEAR: dict[str, Any] = {
    "type": "clear_tool_uses_20250919",
    "trigger": {"type": "tool_uses", "value": 3},
    "keep": {"type": "tool_uses", "value": 1},
}
TOOL: dict[str, Any] = {"name": "look", "input_schema": {"type": "object", "properties": {}}}


def history(uses: int) -> list[Any]:
    """An agent's messages, with so many calls of a tool."""
    messages: list[Any] = [{"role": "user", "content": "Find it."}]
    for number in range(uses):
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {}}
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": f"result {number} " * 40}
        messages += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return messages


@pytest.fixture
async def here() -> AsyncIterator[Running]:
    """A server with a window of 20,000 tokens."""
    service, _ = await served(Rule(text="Found."), window=20_000)
    async with serving(service) as running:
        yield running


@pytest.fixture
async def sdk(here: Running) -> AsyncIterator[AsyncAnthropic]:
    """The SDK."""
    async with AsyncAnthropic(base_url=here.url, api_key="k", max_retries=0) as client:
        yield client


def asked(uses: int, *edits: Any) -> dict[str, Any]:
    return {
        "model": "claude-test",
        "messages": history(uses),
        "tools": [TOOL],
        "context_management": {"edits": list(edits)},
    }


async def test_create_tells_what_was_cleared(sdk: AsyncAnthropic) -> None:
    """The reply tells how many uses were cleared, and of how many tokens; nothing where nothing was."""
    message = await sdk.beta.messages.create(max_tokens=50, **asked(4, CLEAR))
    assert message.context_management is not None
    (applied,) = message.context_management.applied_edits
    assert applied.type == "clear_tool_uses_20250919"
    assert applied.cleared_tool_uses == 3
    assert applied.cleared_input_tokens > 200
    message = await sdk.beta.messages.create(max_tokens=50, **asked(2, CLEAR))
    assert message.context_management is not None
    assert message.context_management.applied_edits == []


async def test_stream_tells_at_its_end(sdk: AsyncAnthropic) -> None:
    """The final `message_delta` has what was applied, and the SDK's message too."""
    async with sdk.beta.messages.stream(max_tokens=50, **asked(4, CLEAR)) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_message()
    (delta,) = [event for event in events if event.type == "message_delta"]
    assert delta.context_management is not None
    assert [edit.type for edit in delta.context_management.applied_edits] == ["clear_tool_uses_20250919"]
    assert final.context_management == delta.context_management


async def test_count_tells_both_figures(sdk: AsyncAnthropic) -> None:
    """What is counted is what a reply's usage reports; beside it stands the count without edits."""
    counted = await sdk.beta.messages.count_tokens(**asked(4, CLEAR))
    plain = await sdk.beta.messages.count_tokens(**asked(4) | {"context_management": None})
    message = await sdk.beta.messages.create(max_tokens=50, **asked(4, CLEAR))
    usage, told = message.usage, counted.context_management
    assert told is not None
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert told.original_input_tokens == plain.input_tokens > counted.input_tokens


async def test_every_edit_of_the_sdk_is_taken(sdk: AsyncAnthropic) -> None:
    """Every field that the SDK's types have, and the plain route too."""
    full = CLEAR | {
        "clear_at_least": {"type": "input_tokens", "value": 1},
        "exclude_tools": ["other"],
        "clear_tool_inputs": ["look"],
    }
    for keep in ("all", {"type": "all"}, {"type": "thinking_turns", "value": 2}):
        await sdk.beta.messages.create(
            max_tokens=9, **asked(3, {"type": "clear_thinking_20251015", "keep": keep}, full)
        )
    sent = asked(4, CLEAR)
    more = {"context_management": sent.pop("context_management")}
    message = await sdk.messages.create(max_tokens=9, extra_body=more, **sent)
    assert message.to_dict()["context_management"]["applied_edits"][0]["cleared_tool_uses"] == 3  # type: ignore[index]


async def test_the_operators_choice() -> None:
    """Where the operator chose so, a prompt that outgrows the window is cleared unasked, and a header says so; a client
    that says it wants no edits gets none."""
    engine = Scripted(Script(rules=(Rule(text="Found."),), window=1500))
    model = await load(engine, Choices())
    sent = {"model": "claude-test", "max_tokens": 9, "messages": history(8), "tools": [TOOL]}
    async with serving(Service([model])) as plain:
        status, _, error = await plain.post(sent)
        assert (status, error["error"]["message"][:18]) == (400, "prompt is too long")
    async with serving(Service([model], clears_tool_results=True)) as here:
        for body in (sent, sent | {"stream": True}):
            async with here.client.post(
                f"{here.url}/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"}
            ) as response:
                assert response.status == 200
                assert response.headers["antiphon-cleared"].endswith(" tokens")
                assert "context_management" not in (await response.text())
        status, headers, _ = await here.post(sent | {"messages": history(2)})
        assert (status, "antiphon-cleared" in headers) == (200, False)
        status, _, _ = await here.post(sent | {"context_management": {"edits": []}})
        assert status == 400


async def test_render_shows_the_edited_prompt(here: Running) -> None:
    """What was cleared is not in the prompt that is shown."""
    _, _, told = await here.post(asked(4, CLEAR), "/v1/messages/render")
    assert "result 0" not in told["text"]
    assert told["text"].count("[cleared to save space]") == 3
    assert "result 3" in told["text"]


THINKING = {"type": "clear_thinking_20251015"}


@pytest.mark.parametrize(
    ("edits", "path"),
    [
        ("x", "edits: Input should be a valid list"),
        ([{}], "edits.0.type: Field required"),
        ([{"type": "clear_all"}], "edits.0.type: "),
        ([CLEAR | {"trigger": {"type": "input_tokens"}}], "edits.0.trigger.value: Field required"),
        ([CLEAR | {"trigger": {"type": "tool_uses", "value": 0}}], "edits.0.trigger.value: Input should be greater"),
        ([CLEAR | {"keep": {"type": "tool_uses", "value": -1}}], "edits.0.keep.value: Input should be greater"),
        ([CLEAR, CLEAR], "edits.1: each type"),
        ([CLEAR, THINKING], "edits.1: `clear_thinking_20251015` must be the first"),
        ([THINKING | {"keep": "some"}], "edits.0.keep: "),
    ],
)
async def test_bad_settings_are_refused_with_their_place(here: Running, edits: Any, path: str) -> None:
    """A setting that cannot be is a 400 that names its place."""
    status, _, error = await here.post(here.ask(model="claude-test", context_management={"edits": edits}))
    assert status == 400
    assert error["error"]["message"].startswith(f"context_management.{path}")
