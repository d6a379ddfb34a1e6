"""Ids and log-probabilities of tokens on the Messages API: what the engine was given and what it gave, as it came."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.engines.scripted import Rule, Scripted
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

TOOL = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
ASKED = {"return_token_ids": True, "return_logprob": True, "top_logprobs": 2, "tools": [TOOL], "model": "default"}
CALL = ["<tool_call>", '{"name": "look", ', '"arguments": ', '{"at": "sea"}}', "</tool_call>"]
MEMBERS = ("output_ids", "output_token_logprobs", "output_top_logprobs")
OUTPUTS = [
    ["Hello", " there", "!"],
    ["<think>", "Hm", ".", "</think>", "Well", "."],
    CALL,
    ["<think>", "A", "</think>", "I look", ".", *CALL, *CALL],
    [],
]


@asynccontextmanager
async def telling(*pieces: str, **rule: Any) -> AsyncIterator[tuple[Running, Scripted]]:
    service, engine = await served(Rule(pieces=pieces or ("",), **rule))
    async with serving(service) as server:
        yield server, engine


def streamed(data: bytes) -> list[dict[str, Any]]:
    lines = data.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def gathered(events: list[dict[str, Any]], member: str) -> list[Any]:
    return [each for event in events for each in event.get(member, [])]


@pytest.mark.parametrize("pieces", OUTPUTS, ids=["text", "thinking", "call", "all", "nothing"])
async def test_what_was_given_and_what_it_gave(pieces: list[str]) -> None:
    """The ids are those of the engine's job and of what it sampled, one log-probability for each; streamed and whole
    they are the same, and all else is as it is for those who do not ask."""
    async with telling(*pieces) as (server, engine):
        status, _, plain = await server.post(server.ask(tools=[TOOL], model="default"))
        status, _, whole = await server.post(server.ask(**ASKED))
        assert status == 200
        job, sampled = engine.jobs[-1], engine.sampled[-1]
        assert whole["prompt_token_ids"] == list(job.prompt)
        assert whole["output_ids"] == sampled
        assert whole["output_token_logprobs"] == [[-(id % 1000) / 1000, id] for id in sampled]
        assert [[id for _, id in top] for top in whole["output_top_logprobs"]] == [[id, id + 1] for id in sampled]
        assert [block["type"] for block in whole["content"]] == [block["type"] for block in plain["content"]]
        events = streamed((await server.stream(server.ask(**ASKED)))[2])
        assert events[0]["message"]["prompt_token_ids"] == list(job.prompt)
        for member in MEMBERS:
            assert gathered(events, member) == whole[member]


async def test_with_the_text_they_belong_to() -> None:
    """Ids stand beside the delta of their text; those of a call's markers, which have none, beside that of its block or
    at the end."""
    async with telling("Hel", "lo", *CALL, delay=0.01) as (server, _):
        events = streamed((await server.stream(server.ask(**ASKED)))[2])
        deltas = [event for event in events if event["type"] == "content_block_delta"]
        told = {event["delta"]["text"]: event["output_ids"] for event in deltas if "text" in event["delta"]}
        assert told["Hel"] == [Scripted.id_of("Hel")]
        assert told["lo"] == [Scripted.id_of("lo")]


async def test_nothing_is_told_unasked() -> None:
    """Without the fields nothing of this is in a reply."""
    async with telling("Hello") as (server, _):
        _, _, whole = await server.post(server.ask(model="default"))
        assert not whole.keys() & {*MEMBERS, "prompt_token_ids"}
        assert b"output_ids" not in (await server.stream(server.ask(model="default")))[2]


async def test_ids_in_place_of_messages() -> None:
    """A prompt that comes as ids is the engine's, unchanged; its reply is read like any other."""
    async with telling(*OUTPUTS[3]) as (server, engine):
        _, _, first = await server.post(server.ask(**ASKED))
        ids = first["prompt_token_ids"]
        status, _, again = await server.post({"model": "default", "max_tokens": 100, "input_ids": ids, **ASKED})
        assert status == 200, again
        assert list(engine.jobs[-1].prompt) == ids == again["prompt_token_ids"]
        assert again["usage"]["input_tokens"] == len(ids) - again["usage"]["cache_read_input_tokens"]
        assert [block["type"] for block in again["content"]] == [block["type"] for block in first["content"]]
        status, _, counted = await server.post({"model": "default", "input_ids": ids}, "/v1/messages/count_tokens")
        assert (status, counted) == (200, {"input_tokens": len(ids)})


async def test_what_cannot_be() -> None:
    """A 400 names the field: both kinds of prompt, ids that are none, alternatives without or beyond their number."""
    async with telling("Hello") as (server, _):
        for field, fields in {
            "input_ids": {"input_ids": [5]},
            "input_ids.0": {"messages": [], "input_ids": [-1]},
            "messages": {"messages": []},
            "top_logprobs": {"top_logprobs": 3},
            "top_logprobs:": {"return_logprob": True, "top_logprobs": 21},
        }.items():
            status, _, error = await server.post(server.ask(model="default", **fields))
            assert status == 400
            assert error["error"]["message"].startswith(field), error


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["<think>", "</think>", "a", " b", "<tool_call>", '{"name"', "é"]), max_size=8))
async def test_none_is_lost(pieces: list[str]) -> None:
    """Whatever the model writes, every id is told, in its order, and the reply means the same."""
    async with telling(*pieces) as (server, engine):
        _, _, whole = await server.post(server.ask(**ASKED))
        _, _, plain = await server.post(server.ask(tools=[TOOL], model="default"))
        events = streamed((await server.stream(server.ask(**ASKED)))[2])
        assert gathered(events, "output_ids") == whole["output_ids"] == engine.sampled[-1]
        kinds = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
        assert kinds == [block["type"] for block in whole["content"]] == [block["type"] for block in plain["content"]]


async def test_the_sdk_reads_on() -> None:
    """The official SDK, which knows none of this, makes the same message of it."""
    async with (
        telling(*OUTPUTS[3]) as (server, _),
        anthropic.AsyncAnthropic(base_url=server.url, api_key="none", max_retries=0) as client,
    ):
        asked: dict[str, Any] = {"model": "default", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
        async with client.messages.stream(**asked, extra_body=ASKED) as stream:
            final = await stream.get_final_message()
        whole = await client.messages.create(**asked, extra_body=ASKED)
        assert [block.type for block in final.content] == [block.type for block in whole.content]
        assert [block.input for block in final.content if block.type == "tool_use"] == [{"at": "sea"}] * 2
        assert (whole.model_extra or {})["output_ids"]
