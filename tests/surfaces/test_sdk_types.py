"""What is sent is what the newest official SDKs type, field by field: nothing missing, nothing more.

Streams of the Responses API are looked at wherever `response_order.check` is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from anthropic.types import ModelInfo
from anthropic.types.beta import BetaMessage, BetaMessageTokensCount, BetaRawMessageStreamEvent
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.conversations import Conversation, ConversationDeletedResource
from openai.types.conversations.conversation_item_list import ConversationItemList
from openai.types.responses import CompactedResponse, Response
from openai.types.responses.input_token_count_response import InputTokenCountResponse
from openai.types.responses.response_item_list import ResponseItemList

from antiphon.engines.scripted import Rule
from antiphon.storage.store import Store
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving
from tests.surfaces.response_order import BEYOND
from tests.surfaces.sdk_types import complaints

RULES = (
    Rule(when="about to be replaced by a summary", text="Little was said."),
    Rule(when="Call it", pieces=("<tool_call>", '{"name": "look", "arguments": {"a": 1}}', "</tool_call>")),
    Rule(pieces=("<think>", "Hm.", "</think>", "Fine", ".")),
)
OURS = {
    **BEYOND,
    # What other servers of open models tell too.
    "ChatCompletionMessage": ("reasoning_content",),
    "ChoiceDelta": ("reasoning_content",),
    "Model": ("max_model_len",),
    # What was cached is known at the end only, where all figures are told again.
    "BetaMessageDeltaUsage": ("cache_creation", "inference_geo", "service_tier", "speed"),
}
VERSION = {"anthropic-version": "2023-06-01"}
USER = [{"role": "user", "content": "Hi"}]
CALLED = [
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "Seen."},
]
CALLING = [{"role": "user", "content": "Call it"}]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
LOOK = {"type": "function", "name": "look", "parameters": SCHEMA}
CHAT_LOOK = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
MESSAGES_LOOK = {"name": "look", "input_schema": SCHEMA}
ASKED: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("responses", {"input": USER, "reasoning": {"summary": "auto"}, "text": {"verbosity": "low"}}, Response, None),
    ("responses", {"input": CALLING, "tools": [LOOK], "tool_choice": "auto", "store": False}, Response, None),
    ("responses", {"input": USER, "include": ["message.output_text.logprobs"], "top_logprobs": 2}, Response, None),
    ("responses/input_tokens", {"input": USER}, InputTokenCountResponse, None),
    ("responses/compact", {"input": USER}, CompactedResponse, None),
    ("chat/completions", {"messages": USER, "logprobs": True, "top_logprobs": 2}, ChatCompletion, ChatCompletionChunk),
    ("chat/completions", {"messages": CALLING, "tools": [CHAT_LOOK], "n": 2}, ChatCompletion, ChatCompletionChunk),
    ("completions", {"prompt": "Hi", "logprobs": 2, "max_tokens": 5}, Completion, None),
    ("messages", {"messages": USER, "max_tokens": 2000}, BetaMessage, BetaRawMessageStreamEvent),
    (
        "messages",
        {"messages": CALLING, "max_tokens": 100, "tools": [MESSAGES_LOOK]},
        BetaMessage,
        BetaRawMessageStreamEvent,
    ),
    ("messages/count_tokens", {"messages": USER}, BetaMessageTokensCount, None),
]


@pytest.fixture
async def server(store: Store) -> AsyncIterator[Running]:
    service, _ = await served(*RULES)
    async with serving(service, store=store) as running:  # type: ignore[arg-type]
        yield running


async def get(server: Running, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """The JSON of an answer."""
    async with server.client.request(method, f"{server.url}/v1/{path}", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


@pytest.mark.parametrize(("path", "body", "kind", "piece"), ASKED)
async def test_replies(server: Running, path: str, body: dict[str, Any], kind: Any, piece: Any) -> None:
    """Whole, and where there is a type of pieces as a stream."""
    body = {"model": "default", **body}
    headers = VERSION if path.startswith("messages") else {}
    reply = await get(server, "POST", path, body, **headers)
    if kind is CompactedResponse:
        # The SDK says in words that the user's messages come first, and has no type for them there.
        del reply["output"][:-1]
    assert complaints(kind, reply, "reply", OURS) == []
    if piece is None:
        return
    usage = {} if path == "messages" else {"stream_options": {"include_usage": True}}
    body = {**body, "stream": True, **usage}
    async with server.client.post(f"{server.url}/v1/{path}", json=body, headers=headers) as response:
        lines = (await response.text()).split("\n")
    told = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    told = [event for event in told if event.get("type") != "ping"]
    assert len(told) > 2
    wrong = [each for event in told for each in complaints(piece, event, event.get("type", ""), OURS)]
    assert wrong == []


async def test_what_is_kept_of_responses(server: Running) -> None:
    """Responses and their items, and conversations."""

    async def right(kind: Any, method: str, path: str, body: Any = None) -> Any:
        told = await get(server, method, path, body)
        assert complaints(kind, told, path, OURS) == []
        return told

    conversation = await right(Conversation, "POST", "conversations", {"metadata": {"a": "b"}, "items": USER})
    named = f"conversations/{conversation['id']}"
    body = {
        "model": "default",
        "input": USER,
        "conversation": conversation["id"],
        "include": ["reasoning.encrypted_content"],
    }
    response = await right(Response, "POST", "responses", body)
    await right(Response, "GET", f"responses/{response['id']}")
    await right(ResponseItemList, "GET", f"responses/{response['id']}/input_items")
    items = await right(ConversationItemList, "GET", f"{named}/items")
    assert len(items["data"]) == 4
    await right(ConversationItemList, "POST", f"{named}/items", {"items": CALLED})
    await right(Conversation, "POST", named, {"metadata": {}})
    await right(Conversation, "DELETE", f"{named}/items/{items['data'][0]['id']}")
    await right(ConversationDeletedResource, "DELETE", named)


async def test_models(server: Running) -> None:
    """For programs of either API."""
    for model in (await get(server, "GET", "models"))["data"]:
        assert complaints(Model, model, "model", OURS) == []
    for model in (await get(server, "GET", "models", **VERSION))["data"]:
        assert complaints(ModelInfo, model, "model", OURS) == []
