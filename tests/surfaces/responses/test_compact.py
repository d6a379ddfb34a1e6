"""Conversations in short, and what goes on from them."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from antiphon.engines.scripted import Rule
from antiphon.storage.store import Store
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving
from tests.surfaces.response_order import check, frames
from tests.surfaces.responses.test_responses import LOOK, PATH, ask

SAID: list[dict[str, Any]] = [
    {"role": "user", "content": "Look around."},
    {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "A red door."},
    {"role": "assistant", "content": "There is a door."},
]


RULES = (
    Rule(when="Write nothing", text=" "),
    Rule(when="about to be replaced by a summary", pieces=("<think>", "Hm.", "</think>", "A red ", "door was seen.")),
    Rule(text="Fine."),
)


async def test_a_conversation_in_short(store: Store) -> None:
    """The user's words as they are, the rest as the model's summary: the request that goes on has both and no more,
    however what came before is named."""
    service, engine = await served(*RULES)
    async with (
        serving(service, store=store) as server,  # type: ignore[arg-type]
        openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client,
    ):
        first = await client.responses.create(model="default", input=SAID, tools=[LOOK])
        ways: list[Any] = [{"input": SAID}, {"previous_response_id": first.id, "input": "Thanks."}]
        for way in ways:
            compacted = await client.responses.compact(model="default", instructions="Be brief.", **way)
            assert "There is a door." in engine.jobs[-1].text
            assert compacted.object == "response.compaction"
            *said, last = compacted.output
            assert [item.content[0].text for item in said] == ["Look around.", *(["Thanks."] if way is ways[1] else [])]
            assert last.type == "compaction"
            assert compacted.usage.output_tokens > 0
            window: Any = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
            await client.responses.create(model="default", input=[*window, {"role": "user", "content": "Where to?"}])
            prompt = engine.jobs[-1].text
            assert "Look around." in prompt
            assert "A red door was seen." in prompt
            assert "Hm." not in prompt
            assert "There is a door." not in prompt


async def test_no_summary() -> None:
    """A model that writes none is told of."""
    service, _ = await served(*RULES)
    async with serving(service) as server:  # type: ignore[arg-type]
        status, told = await ask(server, "POST", "/compact", {"model": "default", "input": "Write nothing"})
        assert (status, told["error"]["message"]) == (500, "the model wrote no summary; send the request again")


LONG: list[dict[str, Any]] = [
    {"role": "developer", "content": "Rules."},
    {"role": "user", "content": "Find bees. " * 100},
    {"role": "assistant", "content": "Five."},
    {"role": "user", "content": "Where?"},
]
COMPACT: dict[str, Any] = {"context_management": [{"type": "compaction", "compact_threshold": 300}]}
SUMMARY = "A red door was seen."


async def heard(server: Running, input: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """The response that a stream ends in."""
    body = {"model": "default", "input": input, "stream": True, **fields}
    async with server.client.post(server.url + PATH, json=body) as response:
        return check(frames(await response.read()))


async def test_a_conversation_that_has_grown_long() -> None:
    """Where it has reached the threshold, the response begins with a summary and goes on from that alone, and from what
    was said before the first question. What comes back, pruned or not, is the same prompt, which grows at its end."""
    service, engine = await served(*RULES, window=4000)
    async with serving(service) as server:  # type: ignore[arg-type]
        response = await heard(server, LONG, **COMPACT)
        assert [item["type"] for item in response["output"]] == ["compaction", "message"]
        first = engine.jobs[-1]
        assert "Find bees" not in first.text
        assert all(words in first.text for words in ("Rules.", SUMMARY))
        assert response["usage"]["input_tokens"] == len(first.prompt) < 300
        known = [*first.prompt, *engine.sampled[-1]]
        more = [*response["output"], {"role": "user", "content": "And wasps?"}]
        for input in ([*LONG, *more], [LONG[0], *more]):
            again = await heard(server, input, **COMPACT)
            assert [item["type"] for item in again["output"]] == ["message"]
            assert engine.jobs[-1].prompt[: len(known)] == known


async def test_a_chain_that_has_grown_long(store: Store) -> None:
    """It goes on from the summary too, by the official SDK, and a conversation in short has nothing from before it."""
    service, engine = await served(*RULES, window=4000)
    async with (
        serving(service, store=store) as server,  # type: ignore[arg-type]
        openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client,
    ):
        sent: Any = {"model": "default", **COMPACT}
        first = await client.responses.create(input=LONG, **sent)  # type: ignore[arg-type]
        assert [item.type for item in first.output] == ["compaction", "message"]
        await client.responses.create(input="And wasps?", previous_response_id=first.id, **sent)
        assert SUMMARY in engine.jobs[-1].text
        assert "Find bees" not in engine.jobs[-1].text
        short = await client.responses.compact(model="default", input="And wasps?", previous_response_id=first.id)
        assert [item.type for item in short.output] == ["message", "compaction"]


@pytest.mark.parametrize("asked", [{}, {"context_management": []}, COMPACT | {"input": LONG[:1] + LONG[2:]}])
async def test_nothing_to_summarise(asked: dict[str, Any]) -> None:
    """Nothing was asked for, or the conversation is short."""
    service, _ = await served(*RULES, window=4000)
    async with serving(service) as server:  # type: ignore[arg-type]
        response = await heard(server, **{"input": LONG, **asked})
        assert [item["type"] for item in response["output"]] == ["message"]


async def test_other_management() -> None:
    """What nobody here knows is named, and left out."""
    service, _ = await served(*RULES)
    async with serving(service) as server:  # type: ignore[arg-type]
        body = {"model": "default", "input": "Hi", "context_management": [{"type": "forgetting"}]}
        async with server.client.post(server.url + PATH, json=body) as response:
            assert (response.status, response.headers["antiphon-ignored"]) == (200, "context_management.forgetting")


async def test_a_summary_is_all_that_is_asked_for() -> None:
    """By the item that says so, as the last: the response is the summary, and later requests go on from it."""
    service, engine = await served(*RULES)
    async with serving(service) as server:  # type: ignore[arg-type]
        input = [*SAID, {"type": "compaction_trigger"}]
        response = await heard(server, input, tools=[LOOK])
        assert [item["type"] for item in response["output"]] == ["compaction"]
        assert response["usage"]["output_tokens"] > 0
        again = await heard(server, [*input, *response["output"], {"role": "user", "content": "On."}], tools=[LOOK])
        assert [item["type"] for item in again["output"]] == ["message"]
        assert SUMMARY in engine.jobs[-1].text
        assert "red door." not in engine.jobs[-1].text.replace(SUMMARY, "").lower()
        silent = [{"role": "user", "content": "Write nothing"}, {"type": "compaction_trigger"}]
        status, told = await ask(server, "POST", "", {"model": "default", "input": silent})
        assert (status, told["error"]["message"]) == (500, "the model wrote no summary; send the request again")


async def test_a_summary_that_was_changed() -> None:
    """It is an error that names the item."""
    service, _ = await served(*RULES)
    async with serving(service) as server:  # type: ignore[arg-type]
        response = await heard(server, [*SAID, {"type": "compaction_trigger"}], tools=[LOOK])
        forged = {
            **response["output"][0],
            "encrypted_content": response["output"][0]["encrypted_content"][:-8] + "AAAA" * 2,
        }
        status, told = await ask(server, "POST", "", {"model": "default", "input": [forged]})
        assert (status, told["error"]["param"]) == (400, "input.0.encrypted_content")
