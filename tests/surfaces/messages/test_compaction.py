"""Compaction: the model's summary as a block, the reply after it, and what a client sends back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from anthropic import AsyncAnthropic, beta_async_tool

from antiphon.api.context_management import Compact
from antiphon.api.conversation import Conversation, GenerationParams, Text, ToolResult, ToolUse, Turn
from antiphon.engines.scripted import Rule, Scripted
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

SUMMARY = "Bees were asked for. Five were found."
RULES = (
    Rule(when="about to be replaced by a summary", text=SUMMARY),
    Rule(when="Shorten it now", text="Short."),
    Rule(when="Write nothing", text=" "),
    Rule(text="Going on."),
)
COMPACT: dict[str, Any] = {"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 300}}


class Here:
    """A server over the scripted engine, and the official SDK's client of it."""

    def __init__(self, running: Running, sdk: AsyncAnthropic, engine: Scripted) -> None:
        self.running, self.sdk, self.engine = running, sdk, engine


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    """A server with a window of 4,000 tokens, the SDK, and its engine."""
    service, engine = await served(*RULES, window=4000)
    async with serving(service) as running, AsyncAnthropic(base_url=running.url, api_key="k", max_retries=0) as sdk:
        yield Here(running, sdk, engine)


def asked(*edits: Any, long: bool = True, **fields: Any) -> dict[str, Any]:
    messages: list[Any] = [
        {"role": "user", "content": "Find bees. " * (100 if long else 1)},
        {"role": "assistant", "content": "Five."},
        {"role": "user", "content": "Where?"},
    ]
    sent = {"model": "claude-test", "max_tokens": 50, "messages": messages, **fields}
    return sent | ({"context_management": {"edits": list(edits)}} if edits else {})


async def test_the_summary_comes_first(here: Here) -> None:
    """The message begins with the summary, and goes on from it alone; the figures of both are told apart."""
    message = await here.sdk.beta.messages.create(**asked(COMPACT))
    summary, text = message.content
    assert (summary.type, text.type, message.stop_reason) == ("compaction", "text", "end_turn")
    assert (summary.content, text.text) == (SUMMARY, "Going on.")
    assert SUMMARY in here.engine.jobs[-1].text
    assert "Find bees" not in here.engine.jobs[-1].text
    assert message.usage.iterations is not None
    first, second = message.usage.iterations
    assert (first.type, second.type) == ("compaction", "message")
    assert first.input_tokens > 300 > second.input_tokens == message.usage.input_tokens


async def test_a_stream_is_the_same(here: Here) -> None:
    """The block is a start without text, one delta and a stop; the SDK makes the same message of it."""
    whole = await here.sdk.beta.messages.create(**asked(COMPACT))
    async with here.sdk.beta.messages.stream(**asked(COMPACT)) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_message()
    assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
    raw = [event for event in events if event.type.startswith("content_block_") and getattr(event, "index", 1) == 0]
    assert [event.type for event in raw] == ["content_block_start", "content_block_delta", "content_block_stop"]
    assert sum(event.type == "message_start" for event in events) == 1


async def test_nothing_below_the_trigger(here: Here) -> None:
    """A short conversation is answered as ever."""
    message = await here.sdk.beta.messages.create(**asked(COMPACT, long=False))
    assert [block.type for block in message.content] == ["text"]
    assert message.usage.iterations is None


async def test_what_comes_back_goes_on(here: Here) -> None:
    """All before the block is left out, and the next prompt begins with the one that wrote the reply."""
    sent = asked(COMPACT)
    message = await here.sdk.beta.messages.create(**sent)
    known = [*here.engine.jobs[-1].prompt, *here.engine.sampled[-1]]
    more = [{"role": "assistant", "content": message.content}, {"role": "user", "content": "And wasps?"}]
    again = await here.sdk.beta.messages.create(**sent | {"messages": [*sent["messages"], *more]})
    assert [block.type for block in again.content] == ["text"]
    assert here.engine.jobs[-1].prompt[: len(known)] == known
    counted = await here.sdk.beta.messages.count_tokens(model="m-claude", messages=[*sent["messages"], *more])
    assert counted.input_tokens == len(here.engine.jobs[-1].prompt)


async def test_a_message_that_pauses_is_gone_on_from(here: Here) -> None:
    """The message ends with the summary; sent back as it is, it is gone on from."""
    sent = asked(COMPACT | {"pause_after_compaction": True, "instructions": "Shorten it now"})
    message = await here.sdk.beta.messages.create(**sent)
    (summary,) = message.content
    assert (message.stop_reason, summary.type) == ("compaction", "compaction")
    assert summary.content == "Short."
    more = [{"role": "assistant", "content": message.content}]
    again = await here.sdk.beta.messages.create(**sent | {"messages": [*sent["messages"], *more]})
    assert again.stop_reason == "end_turn"


@pytest.mark.parametrize("pauses", [False, True])
async def test_without_a_summary_the_whole_conversation_is_answered(here: Here, *, pauses: bool) -> None:
    """Where the model writes none, the block says so, the reply is to the whole conversation, though the message was to
    pause, and the block that comes back changes nothing."""
    sent = asked(COMPACT | {"instructions": "Write nothing", "pause_after_compaction": pauses})
    message = await here.sdk.beta.messages.create(**sent)
    summary, text = message.content
    assert (summary.type, summary.content, text.text) == ("compaction", None, "Going on.")  # type: ignore[union-attr]
    more = [{"role": "assistant", "content": message.content}, {"role": "user", "content": "And?"}]
    sent = asked(messages=[*sent["messages"], *more])
    await here.sdk.beta.messages.create(**sent)
    assert "Find bees" in here.engine.jobs[-1].text


async def test_a_summary_on_demand_is_a_block_alone(here: Here) -> None:
    """`compaction` is answered by the block alone, which stands first in the next request in place of the messages."""
    message = await here.sdk.beta.messages.create(**asked(long=False, compaction={"type": "summarize"}))
    (summary,) = message.content
    assert (message.stop_reason, summary.type) == ("compaction", "compaction")
    assert summary.signature  # type: ignore[union-attr]
    sent = [{"role": "assistant", "content": message.content}, {"role": "user", "content": "And wasps?"}]
    await here.sdk.beta.messages.create(**asked() | {"messages": sent})
    text = here.engine.jobs[-1].text
    assert SUMMARY in text
    assert text.index(SUMMARY) < text.index("And wasps?")


LOOK: dict[str, Any] = {"name": "look", "input_schema": {"type": "object"}}
WEIGH = {**LOOK, "name": "weigh", "defer_loading": True}
ADDITION = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {**LOOK, "name": "count"}}}
REMOVAL = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "look"}}


def with_tools(**fields: Any) -> dict[str, Any]:
    """A request in whose conversation a tool was found, another defined, and a third taken away."""
    sent = asked(tools=[LOOK, WEIGH], **fields)
    found = [{"type": "tool_reference", "tool_name": "weigh"}]
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}
    sent["messages"] += [
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": found}]},
        {"role": "system", "content": [REMOVAL, ADDITION, ADDITION]},
    ]
    return sent


async def test_a_summary_keeps_the_tools(here: Here) -> None:
    """Its block tells which tools came and went, and what it stands first in goes on with these; in the SDK's types,
    whole and streamed alike."""
    sent = with_tools(compaction={"type": "summarize"})
    message = await here.sdk.beta.messages.create(**sent)
    async with here.sdk.beta.messages.stream(**sent) as stream:
        assert (await stream.get_final_message()).content == message.content
    (summary,) = message.content
    found = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "weigh"}}
    assert summary.to_dict()["tool_changes"] == [found, REMOVAL, ADDITION]
    goes_on = [{"role": "assistant", "content": message.content}, {"role": "user", "content": "And wasps?"}]
    await here.sdk.beta.messages.create(**{**asked(tools=[LOOK, WEIGH]), "messages": goes_on})
    text = here.engine.jobs[-1].text
    assert text.index(SUMMARY) < text.index('"name":"weigh"') < text.index('"name":"count"') < text.index("And wasps?")
    again = await here.sdk.beta.messages.create(
        **{**asked(tools=[LOOK, WEIGH], compaction={"type": "summarize"}), "messages": goes_on}
    )
    assert again.content[0].to_dict()["tool_changes"] == [found, REMOVAL, ADDITION]


async def test_a_summary_outlives_its_tools(here: Here) -> None:
    """A tool that was found before the summary may be gone from `tools` afterwards, as it may be without a summary."""
    message = await here.sdk.beta.messages.create(**with_tools(compaction={"type": "summarize"}))
    told = message.content[0].to_dict()
    untold = {key: value for key, value in told.items() if key != "tool_changes"}
    for block in (told, untold):
        messages = [{"role": "assistant", "content": [block]}, {"role": "user", "content": "And wasps?"}]
        before = with_tools()["messages"][:-1] if block is untold else []
        await here.sdk.beta.messages.create(**{**asked(tools=[LOOK]), "messages": [*before, *messages]})


async def test_what_shapes_a_reply_is_refused_beside_it(here: Here) -> None:
    """A request for a summary alone takes nothing that only a reply could keep."""
    for more in ({"stop_sequences": ["x"]}, {"context_management": {"edits": []}}):
        status, _, error = await here.running.post(asked(compaction={"type": "summarize"}, **more))
        assert status == 400
        assert error["error"]["message"].startswith(next(iter(more)))


async def test_a_count_beside_it_is_of_the_conversation_as_sent(here: Here) -> None:
    """Counting ignores `compaction`, whatever else the request has: a program counts with the fields of its turns."""
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    fields: Any = {"messages": asked()["messages"], "tools": tools, "tool_choice": {"type": "any"}}
    plain = await here.sdk.beta.messages.count_tokens(model="claude", **fields)
    beside = await here.sdk.beta.messages.count_tokens(model="claude", compaction={"type": "summarize"}, **fields)
    assert beside == plain


async def test_what_a_summary_leaves_out_are_calls_with_their_results() -> None:
    """Where a conversation is too long to be summarised whole, no result stays without its call, though the client's
    messages do not alternate: many templates take no such conversation."""
    turns = [Turn(role="user", parts=(Text("Find bees."),)), Turn(role="system", parts=(Text("Be quick."),))]
    for number in range(40):
        turns.append(Turn(role="assistant", parts=(ToolUse(id=f"toolu_{number}", name="look", input="{}"),)))
        turns.append(Turn(role="user", parts=(ToolResult(tool_use_id=f"toolu_{number}", parts=(Text("Bees."),)),)))
    service, _ = await served(window=1000)
    params = GenerationParams(edits=(Compact(on_demand=True),))
    request = await service.compaction("claude-test", Conversation(turns=tuple(turns)), params)
    assert request is not None
    parts = [part for turn in request.conversation.turns for part in turn.parts]
    calls = [part.id for part in parts if isinstance(part, ToolUse)]
    assert 0 < len(calls) < 40
    assert calls == [part.tool_use_id for part in parts if isinstance(part, ToolResult)]


async def test_the_tool_runner_compacts() -> None:
    """The SDK's tool runner has the conversation compacted between two turns."""
    call = 'Once.\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
    rules = (RULES[0], Rule(when="<summary>", text="Done."), Rule(text=call))
    service, _ = await served(*rules, window=4000)

    @beta_async_tool
    async def look() -> str:
        """Looks."""
        return "Five bees."

    async with serving(service) as running, AsyncAnthropic(base_url=running.url, api_key="k") as sdk:
        runner = sdk.beta.messages.tool_runner(
            model="m-claude", max_tokens=50, tools=[look], messages=[{"role": "user", "content": "Find bees."}]
        )
        reasons = []
        async for message in runner:
            reasons.append(message.stop_reason)
            if len(reasons) == 1:
                runner.compact_before_next_turn()
    assert reasons == ["tool_use", "compaction", "end_turn"]
