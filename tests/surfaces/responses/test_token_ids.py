"""Ids and log-probabilities on the Responses API: in its own places, and of all that was sampled."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from antiphon.engines.scripted import Rule
from antiphon.surfaces.responses.token_ids import LOGPROBS
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

PATH = "/v1/responses"
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}}
CALL = ("<tool_call>", '{"name": "look", ', '"arguments": ', '{"at": "sea"}}', "</tool_call>")
PIECES = ("<think>", "Hm", "</think>", "Hel", "lo", ".", *CALL)
ASKED = {"model": "default", "input": "Hi", "tools": [TOOL], "return_token_ids": True, "include": [LOGPROBS]}


def score(id: int) -> float:
    """As the scripted engine makes it."""
    return -(id % 1000) / 1000


async def streamed(server: Running, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with server.client.post(server.url + PATH, json={**body, "stream": True}) as response:
        lines = (await response.read()).decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def texts(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for item in response["output"] if item["type"] == "message" for part in item["content"]]


async def test_what_was_given_and_what_it_gave() -> None:
    """A response has the ids of its prompt and of all that was sampled, each with its log-probability; its texts have
    those of their own tokens. Whole, in the last event and beside the deltas they are the same."""
    service, engine = await served(Rule(pieces=PIECES))
    async with serving(service) as server:
        status, _, whole = await server.post({**ASKED, "top_logprobs": 2}, PATH)
        assert status == 200, whole
        job, sampled = engine.jobs[-1], engine.sampled[-1]
        assert whole["prompt_token_ids"] == list(job.prompt)
        assert whole["token_ids"] == sampled
        assert whole["token_logprobs"] == [score(id) for id in sampled]
        (text,) = texts(whole)
        assert "".join(each["token"] for each in text["logprobs"]).endswith(text["text"])
        assert {len(each["top_logprobs"]) for each in text["logprobs"]} == {2}
        events = await streamed(server, {**ASKED, "top_logprobs": 2})
        ended = events[-1]["response"]
        assert [ended[name] for name in ("token_ids", "token_logprobs")] == [sampled, whole["token_logprobs"]]
        assert texts(ended) == [text]
        deltas = [event for event in events if event["type"] == "response.output_text.delta"]
        assert [each for delta in deltas for each in delta["logprobs"]] == text["logprobs"]
        (done,) = (event for event in events if event["type"] == "response.output_text.done")
        assert done["logprobs"] == text["logprobs"]
        beside = [id for event in events for id in event.get("token_ids", [])]
        assert beside == sampled[: len(beside)]


async def test_nothing_unasked() -> None:
    """Without the fields there are no ids, and the places of log-probabilities are empty."""
    service, _ = await served(Rule(pieces=PIECES))
    async with serving(service) as server:
        _, _, whole = await server.post({"model": "default", "input": "Hi"}, PATH)
        assert not whole.keys() & {"token_ids", "prompt_token_ids", "token_logprobs"}
        assert [text["logprobs"] for text in texts(whole)] == [[]]


async def test_ids_in_place_of_the_input() -> None:
    """A prompt that comes as ids is the engine's, unchanged; with anything else that is a prompt it is refused."""
    service, engine = await served(Rule(pieces=PIECES))
    async with serving(service) as server:
        ids = (await server.post(ASKED, PATH))[2]["prompt_token_ids"]
        status, _, again = await server.post({**ASKED, "input": None, "input_ids": ids}, PATH)
        assert status == 200, again
        assert list(engine.jobs[-1].prompt) == ids
        assert [item["type"] for item in again["output"]] == ["reasoning", "message", "function_call"]
        assert again["store"] is False
        for fields in ({"input": "Hi"}, {"input": None, "previous_response_id": "resp_1"}):
            status, _, error = await server.post({**ASKED, **fields, "input_ids": ids}, PATH)
            assert (status, error["error"]["message"].startswith("input_ids: ")) == (400, True)


async def test_the_official_sdk() -> None:
    """It reads log-probabilities from the stream and from the response, as its own types have them."""
    service, _ = await served(Rule(pieces=("Hel", "lo")))
    async with serving(service) as server, openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        asked: dict[str, Any] = {"model": "default", "input": "Hi", "include": [LOGPROBS], "top_logprobs": 1}
        async with client.responses.stream(**asked) as stream:
            deltas = [event async for event in stream if event.type == "response.output_text.delta"]
            response = await stream.get_final_response()
        told = [each.logprob for delta in deltas for each in delta.logprobs]
        content: Any = response.output[0].content  # type: ignore[union-attr]
        assert told == [each.logprob for each in content[0].logprobs]
        assert len(told) == 2


@pytest.mark.parametrize("fields", [{"top_logprobs": 21}, {"input_ids": []}, {"input_ids": [-1]}])
async def test_what_cannot_be(fields: dict[str, Any]) -> None:
    """A 400 names the field."""
    service, _ = await served(Rule(text="Hello"))
    async with serving(service) as server:
        status, _, error = await server.post({"model": "default", **fields}, PATH)
        assert (status, next(iter(fields)) in error["error"]["message"]) == (400, True)
