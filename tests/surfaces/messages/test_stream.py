"""Streams over a real socket: promptness, pings, disconnects, failures."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import pytest

from antiphon.api.errors import EngineFailed, Overloaded, PromptTooLong
from antiphon.api.events import Started, TextDelta, Usage
from tests.faults.processes import eventually
from tests.surfaces import order
from tests.surfaces.conftest import serving
from tests.surfaces.scripted_service import TWO_CALLS, ScriptedService, plain

USAGE = Usage(prompt=7, cached=2, output=3)


def events(raw: bytes) -> list[dict[str, Any]]:
    found = order.frames(raw)
    order.check(found)
    return found


async def test_a_stream_is_legal_and_says_what_it_is(server: Any) -> None:
    """Media type, no caching, no buffering by proxies, one ping after the first block starts."""
    status, headers, raw = await server.stream(server.ask())
    assert status == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["request-id"].startswith("req_")
    assert [event["type"] for event in events(raw)] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_usage_is_complete_and_the_same_everywhere() -> None:
    """message_start, message_delta and the unstreamed reply count alike; the inputs add up to the prompt."""
    async with serving(ScriptedService(plain(cached=2))) as server:
        found = events((await server.stream(server.ask()))[2])
        _, _, message = await server.post(server.ask())
        _, _, counted = await server.post(server.ask(), "/v1/messages/count_tokens")
    start, delta = found[0]["message"]["usage"], found[-2]["usage"]
    assert delta == message["usage"]
    assert {**start, "output_tokens": 3} == delta
    assert start["input_tokens"] == 5
    assert start["cache_read_input_tokens"] == 2
    kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert sum(delta[kind] for kind in kinds) == counted["input_tokens"] == 7


async def test_a_late_cache_figure_is_corrected_at_the_end() -> None:
    """When the engine is slow to answer, message_start goes out without its figures and message_delta tells them."""
    async with serving(ScriptedService([0.3, *plain(cached=2)]), ping_interval=5.0) as server:
        found = events((await server.stream(server.ask()))[2])
    assert found[0]["message"]["usage"]["input_tokens"] == 7
    assert found[-2]["usage"]["input_tokens"] == 5
    assert found[-2]["usage"]["cache_read_input_tokens"] == 2


async def test_the_first_byte_is_prompt_and_silence_is_broken() -> None:
    """An engine that says nothing until its client has heard enough: message_start, then one ping after another."""
    heard = asyncio.Event()
    async with serving(ScriptedService([heard, *plain()])) as server:
        raw = b""
        body = {**server.ask(), "stream": True}
        async with server.client.post(
            server.url + "/v1/messages", json=body, headers={"anthropic-version": "x"}
        ) as response:
            async for chunk in response.content.iter_any():
                raw += chunk
                if raw.count(b"event: ping") == 3:
                    heard.set()
    assert [e["type"] for e in events(raw)][:4] == ["message_start", "ping", "ping", "ping"]


async def test_no_ping_follows_the_end() -> None:
    """A service that takes its time to close after the last batch adds nothing to the stream."""
    async with serving(ScriptedService([*plain(), 0.5])) as server:
        found = events((await server.stream(server.ask()))[2])
    assert found[-1]["type"] == "message_stop"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("delay", [0.0, 0.4])
async def test_a_client_that_goes_away_frees_the_engine(stream: bool, delay: float) -> None:
    """Closing is cancelling: the generator of the service is closed at once, streamed or not, silent or not."""
    service = ScriptedService([[Started(USAGE), TextDelta("a")], 60.0])
    async with serving(service) as server:
        asking = asyncio.ensure_future((server.stream if stream else server.post)(server.ask()))
        await service.begun.wait()
        await asyncio.sleep(delay)
        asking.cancel()
        await asyncio.wait_for(service.closed.wait(), 60)
        assert service.running == 0


async def test_many_random_disconnects_leak_nothing() -> None:
    """Clients leave at any moment; no generator stays open."""
    service = ScriptedService([0.02, [Started(USAGE)], *([[TextDelta("a")], 0.01] * 20), 60.0])
    async with serving(service) as server:

        async def leave(after: float) -> None:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.stream(server.ask()), after)

        for _ in range(4):
            await asyncio.gather(*(leave(0.005 * n) for n in range(1, 41)))
        await eventually(lambda: service.running == 0)
        service.script = plain()
        assert (await server.post(server.ask()))[0] == 200


async def test_a_failure_before_the_first_byte_has_its_status() -> None:
    """A prompt that is too long, an engine that has no room: a status, not a stream."""
    service = ScriptedService([Overloaded("all slots are taken", retry_after=3)])
    async with serving(service) as server:
        status, headers, raw = await server.stream(server.ask())
        assert (status, headers["retry-after"], headers["x-should-retry"]) == (529, "3", "true")
        assert json.loads(raw)["error"] == {"type": "overloaded_error", "message": "all slots are taken"}
        service.refusal = PromptTooLong(9000, 8192)
        status, headers, raw = await server.stream(server.ask())
    assert (status, headers["x-should-retry"]) == (400, "false")
    body = json.loads(raw)
    assert body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: 9000 tokens > 8192 maximum"},
        "request_id": headers["request-id"],
    }


@pytest.mark.parametrize("failure", [EngineFailed("the engine died"), RuntimeError("private"), None])
async def test_a_failure_in_the_stream_is_its_last_event(failure: Exception | None) -> None:
    """After the first byte: one error event, no message_stop, and nothing of our insides. A stream that just stops
    counts as failed, too."""
    script: list[Any] = [[Started(USAGE), TextDelta("a")], 0.05, *([failure] if failure else [])]
    async with serving(ScriptedService(script)) as server:
        status, _, raw = await server.stream(server.ask())
    found = events(raw)
    assert status == 200
    assert found[-1]["type"] == "error"
    assert found[-1]["error"]["type"] == "api_error"
    assert "private" not in raw.decode()
    assert "message_stop" not in raw.decode()


@pytest.mark.parametrize("script", [[], [[Started(USAGE), TextDelta("a")]]])
async def test_an_unstreamed_reply_that_breaks_off_is_an_error(script: list[Any]) -> None:
    """No half message is ever passed off as a whole one."""
    async with serving(ScriptedService(script)) as server:
        status, _, body = await server.post(server.ask())
    assert (status, body["error"]["type"]) == (500, "api_error")


async def test_the_official_client_streams_everything() -> None:
    """Thinking, text and two calls through AsyncAnthropic; the stream's message is the unstreamed one."""
    tools: Any = [{"name": name, "input_schema": {"type": "object"}} for name in ("look", "wait")]
    messages: Any = [{"role": "user", "content": "Hi"}]
    async with (
        serving(ScriptedService(TWO_CALLS)) as server,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="k") as client,
    ):
        async with client.messages.stream(model="m", max_tokens=9, messages=messages, tools=tools) as stream:
            told = await stream.get_final_message()
            assert stream.request_id
        whole = await client.messages.create(model="m", max_tokens=9, messages=messages, tools=tools)
    assert told.stop_reason == "tool_use"
    assert [block.type for block in told.content] == ["thinking", "text", "tool_use", "tool_use"]
    left, right = told.to_dict(), whole.to_dict()
    assert left.pop("id") != right.pop("id")
    assert left == right


async def test_cache_warming_runs_the_prompt_and_says_nothing(server: Any) -> None:
    """max_tokens 0: empty content, reason max_tokens, no output; not with a stream."""
    status, _, message = await server.post(server.ask(max_tokens=0))
    assert status == 200
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert message["usage"]["output_tokens"] == 0
    status, _, _ = await server.post(server.ask(max_tokens=0, stream=True))
    assert status == 400
