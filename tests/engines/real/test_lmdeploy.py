"""The examples of LMDeploy's page on its Anthropic routes, sent to Antiphon before LMDeploy's own server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.conftest import Server, serving
from tests.end_to_end.test_real_model import post, total
from tests.engines.cases import REAL, TOKENIZER
from tests.surfaces import order

pytestmark = pytest.mark.skipif(not REAL.startswith("lmdeploy"), reason="of `make engines-real lmdeploy`")

MODEL = "internlm-chat-7b"
HELLO = {
    "model": MODEL,
    "max_tokens": 128,
    "messages": [{"role": "user", "content": "Hello from Anthropic client"}],
}
TOOLS: dict[str, Any] = {
    "tools": [
        {
            "name": "search",
            "description": "Search docs",
            "input_schema": {
                "type": "object",
                "properties": {"query": {"type": "string"}},
                "required": ["query"],
            },
        }
    ],
    "tool_choice": {"type": "auto"},
}
COUNT = {
    "model": MODEL,
    "system": "You are a helpful assistant.",
    "messages": [{"role": "user", "content": "Count these tokens"}],
}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Antiphon with the model's name of the page."""
    name = ("--served-model-name", MODEL, "--tool-call-parser", "internlm")
    with serving(tmp_path_factory.mktemp("page"), REAL, "--tokenizer", TOKENIZER, *name) as server:
        yield server


def test_messages(named: Server) -> None:
    """A reply in text."""
    answer = post(named, "/v1/messages", HELLO)
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", MODEL)
    assert answer["content"][0]["text"].startswith("Once the sea told a story, naïve")
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 128)


def test_messages_with_tools(named: Server) -> None:
    """Tools with the choice left to the model are taken; its reply may be text."""
    answer = post(named, "/v1/messages", {**HELLO, **TOOLS})
    assert answer["content"][0]["type"] == "text"
    without = post(named, "/v1/messages", HELLO)
    assert total(answer["usage"]) > total(without["usage"])


def test_a_forced_call_that_lmdeploy_cannot_hold(named: Server) -> None:
    """A model that writes no call, whatever is asked of it, is asked twice; then the error says so."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(named, "/v1/messages", {**HELLO, **TOOLS, "max_tokens": 1500, "tool_choice": {"type": "any"}})
    error = json.load(refused.value)["error"]
    assert (refused.value.code, error["type"]) == (500, "api_error")
    assert "no tool was called" in error["message"]


def test_streaming_events(named: Server) -> None:
    """The events of the page, in their order."""
    body = json.dumps({**HELLO, "stream": True}).encode()
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    with urllib.request.urlopen(urllib.request.Request(named.url + "/v1/messages", body, headers)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = order.frames(response.read())
    order.check(events)
    names = [event["type"] for event in events if event["type"] != "ping"]
    assert names[:3] == ["message_start", "content_block_start", "content_block_delta"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_count_tokens(named: Server) -> None:
    """An exact count."""
    counted = post(named, "/v1/messages/count_tokens", COUNT)
    answer = post(named, "/v1/messages", {**COUNT, "max_tokens": 1})
    assert counted == {"input_tokens": total(answer["usage"])}


def test_models(named: Server) -> None:
    """The list of models stands at LMDeploy's path too."""
    request = urllib.request.Request(named.url + "/anthropic/v1/models", headers={"anthropic-version": "2023-06-01"})
    with urllib.request.urlopen(request) as response:
        listed = json.load(response)
    assert [model["id"] for model in listed["data"]] == [MODEL]
