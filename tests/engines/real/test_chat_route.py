"""vLLM's own chat route behind Antiphon: templating and parsing happen there, and the laws hold all the same."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jsonschema_rs
import pytest

from tests.end_to_end.conftest import Server, serving
from tests.end_to_end.test_real_model import ASK, SCHEMAS, TOOLS, WEATHER, message, post, total, user
from tests.engines.cases import REAL, counted, idle
from tests.engines.real.conftest import NAMED, streamed
from tests.surfaces import order

pytestmark = pytest.mark.skipif(not REAL.startswith("vllm"), reason="of `make engines-real vllm`")

URL = REAL.partition("+")[2]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Antiphon before the chat route."""
    with serving(tmp_path_factory.mktemp("chat"), f"openai+{URL}/v1", *NAMED) as server:
        yield server


def test_the_words_are_those_of_the_token_route(chat: Server, before: Server) -> None:
    """The prompt that vLLM makes is the one made here, so greedy replies and their figures are equal."""
    for question in ("What is the capital of France?", "Grüße aus Köln 🙂"):
        asked = {"max_tokens": 24, "temperature": 0.0, "messages": [user(question)], "system": "Be kind."}
        there, here = message(chat, **asked), message(before, **asked)
        assert there["content"] == here["content"]
        assert there["stop_reason"] == here["stop_reason"]
        assert total(there["usage"]) == total(here["usage"])
        assert there["usage"]["output_tokens"] == here["usage"]["output_tokens"]


def test_counts_and_cache(chat: Server) -> None:
    """What is counted is what is used, by vLLM's own count; a prompt that comes again is read from its cache."""
    asked = {"messages": [user("the sea " * 150)], "system": "Be brief."}
    count = post(chat, "/v1/messages/count_tokens", {"model": "local-model", **asked})["input_tokens"]
    message(chat, **asked)
    usage = message(chat, **asked)["usage"]
    assert total(usage) == count
    assert usage["cache_read_input_tokens"] >= 128


def test_forced_calls_are_valid(chat: Server) -> None:
    """A named tool and any tool are calls, and their input matches the schema, at temperature 1."""

    def forced(number: int) -> None:
        choice = {"type": "any"} if number % 2 else {"type": "tool", "name": TOOLS[number % 3]["name"]}
        asked = user(f"What is the weather in city number {number}?")
        answer = message(chat, max_tokens=400, temperature=1.0, messages=[asked], tools=TOOLS, tool_choice=choice)
        assert answer["stop_reason"] == "tool_use", answer
        for block in answer["content"]:
            assert block["type"] == "tool_use"
            assert block["name"] == choice.get("name", block["name"])
            jsonschema_rs.validate(SCHEMAS[block["name"]], block["input"])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(forced, range(8)))


def test_structured_output_is_valid(chat: Server) -> None:
    """The text is JSON that matches the schema asked for."""
    for schema in (WEATHER, ASK):
        output = {"format": {"type": "json_schema", "schema": schema}}
        answer = message(chat, max_tokens=500, messages=[user("Tell me of Paris.")], output_config=output)
        (block,) = answer["content"]
        jsonschema_rs.validate(schema, json.loads(block["text"]))


def test_a_history_with_calls_and_results(chat: Server) -> None:
    """Calls, results and errors of earlier turns are taken."""
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln", "options": {"unit": "c"}}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12 °C", "is_error": True}
    turns = [user("Weather?"), {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    answer = message(chat, max_tokens=8, messages=turns, tools=TOOLS)
    assert answer["stop_reason"] in ("max_tokens", "end_turn")


def test_too_long(chat: Server) -> None:
    """A prompt beyond the window is refused in the words that clients match."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        message(chat, messages=[user("word " * 3000)])
    error = json.load(refused.value)["error"]
    assert (refused.value.code, error["type"]) == (400, "invalid_request_error")
    assert re.fullmatch(r"prompt is too long: 30\d\d tokens > 2048 maximum", error["message"])


async def test_streams(chat: Server) -> None:
    """A stream is legal and told as it grows, also to its stop sequence; leaving it frees vLLM."""
    story = [user("Tell me a long story about the sea.")]
    events = order.frames(await streamed(chat, messages=story))
    order.check(events)
    assert len([event for event in events if event["type"] == "content_block_delta"]) > 5
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"
    assert events[-2]["usage"]["output_tokens"] == 20
    events = order.frames(await streamed(chat, messages=story, max_tokens=200, stop_sequences=[" the"]))
    order.check(events)
    assert events[-2]["delta"]["stop_sequence"] == " the"
    await asyncio.gather(*(streamed(chat, reads % 4, messages=story, max_tokens=1500) for reads in range(8)))
    await idle(partial(counted, URL))
