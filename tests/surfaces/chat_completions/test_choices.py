"""Several choices, log-probabilities and token ids on the chat completions API."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

from antiphon.engines.scripted import Rule
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

PATH = "/v1/chat/completions"
FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
CALL = ("<tool_call>", '{"name": "look", ', '"arguments": {}}', "</tool_call>")
SAYS = ("<think>", "Hm", "</think>", "Well", " é", *CALL, *CALL)


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": "Hi"}], "tools": [FUNCTION], **fields}


async def fine(server: Running, **fields: Any) -> Any:
    status, headers, reply = await server.post(ask(**fields), PATH)
    assert status == 200, reply
    return reply | {"ignored": headers.get("antiphon-ignored")}


async def chunks(server: Running, **fields: Any) -> list[dict[str, Any]]:
    body = ask(stream=True, stream_options={"include_usage": True}, **fields)
    async with server.client.post(server.url + PATH, json=body) as response:
        *lines, done, _ = (await response.read()).decode().split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def tokens(told: list[dict[str, Any]], index: int) -> tuple[list[int], list[Any]]:
    """The ids and the log-probabilities of a choice in a stream."""
    parts = [choice for chunk in told for choice in chunk["choices"] if choice["index"] == index]
    ids = [id for part in parts for id in part.get("token_ids", ())]
    return ids, [each for part in parts if part["logprobs"] for each in part["logprobs"]["content"]]


@pytest.mark.parametrize("n", [1, 3])
async def test_tokens_of_each_choice(n: int) -> None:
    """Ids and log-probabilities are those of what the engine sampled for each choice, streamed as whole."""
    service, engine = await served(Rule(pieces=SAYS))
    asked: dict[str, Any] = {"n": n, "logprobs": True, "top_logprobs": 2, "return_token_ids": True}
    async with serving(service) as server:
        whole = await fine(server, **asked)
        told = await chunks(server, **asked)
    sampled = engine.sampled[-1]
    assert whole["prompt_token_ids"] == list(engine.jobs[-1].prompt) == told[0]["prompt_token_ids"]
    assert [choice["index"] for choice in whole["choices"]] == list(range(n))
    for choice in whole["choices"]:
        assert choice["token_ids"] == sampled
        content = choice["logprobs"]["content"]
        assert [each["token"] for each in content] == list(SAYS)
        assert [bytes(each["bytes"]).decode() for each in content] == list(SAYS)
        assert [each["logprob"] for each in content] == [-(id % 1000) / 1000 for id in sampled]
        assert all(len(each["top_logprobs"]) == 2 for each in content)
        assert tokens(told, choice["index"]) == (sampled, content)
    for usage in (whole["usage"], told[-1]["usage"]):
        assert usage["prompt_tokens"] == len(engine.jobs[-1].prompt)
        assert usage["completion_tokens"] == n * len(sampled)


async def test_choices_mean_what_one_means() -> None:
    """A choice among several says what the only one says."""
    service, _ = await served(Rule(pieces=SAYS))
    async with serving(service) as server:
        (one,) = (await fine(server))["choices"]
        several = (await fine(server, n=3))["choices"]
    for choice in (one, *several):
        for call in choice["message"]["tool_calls"]:
            del call["id"]
        del choice["index"]
    assert several == [one] * 3


async def test_the_sdk_accumulates_choices() -> None:
    """The SDK's stream helper makes of several choices what it makes of whole ones."""
    service, _ = await served(Rule(pieces=("Well", " é", "."), delay=0.002))
    async with (
        serving(service) as server,
        openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        asked: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "Hi"}], "n": 3}
        async with client.chat.completions.stream(**asked, logprobs=True) as stream:
            final = await stream.get_final_completion()
        whole = await client.chat.completions.create(**asked, logprobs=True, extra_body={"return_token_ids": True})
        ChatCompletion.model_validate(whole.model_dump())
    assert [choice.message.content for choice in final.choices] == ["Well é."] * 3
    assert [choice.logprobs for choice in final.choices] == [choice.logprobs for choice in whole.choices]


async def test_a_prompt_as_ids() -> None:
    """Ids in place of messages are the prompt; the reply to them is read like any other."""
    service, engine = await served(Rule(pieces=SAYS))
    async with serving(service) as server:
        ids = (await fine(server, return_token_ids=True))["prompt_token_ids"]
        again = await fine(server, messages=[], input_ids=ids)
        assert list(engine.jobs[-1].prompt) == ids
        assert len(again["choices"][0]["message"]["tool_calls"]) == 2
        status, _, error = await server.post(ask(input_ids=ids), PATH)
        assert (status, error["error"]["param"]) == (400, "input_ids")
