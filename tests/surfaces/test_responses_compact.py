"""Conversations in short, and what goes on from them."""

from __future__ import annotations

from typing import Any

import openai
from conftest import serving
from test_responses import LOOK, ask

from antiphon.engines.scripted import Rule
from antiphon.storage.store import Store
from tests.serving.served import served

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
