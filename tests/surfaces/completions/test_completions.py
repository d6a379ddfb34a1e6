"""POST /v1/completions: what follows a text, for harnesses and editors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from openai.types import Completion

from antiphon.engines.scripted import Rule, Scripted
from tests.serving.served import served
from tests.surfaces.conftest import Running, serving

PATH = "/v1/completions"
FIM = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
SAYS = ["<think>", "no", "</think>", " sea", " é", "<tool_call>", "."]


@asynccontextmanager
async def following(*rules: Rule, **script: Any) -> AsyncIterator[tuple[Running, Scripted]]:
    service, engine = await served(*(rules or (Rule(pieces=tuple(SAYS)),)), **script)
    async with serving(service) as server:
        yield server, engine


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "default", "prompt": "Once upon", "max_tokens": 100, **fields}


async def fine(server: Running, **fields: Any) -> Any:
    status, _, reply = await server.post(ask(**fields), PATH)
    assert status == 200, reply
    return reply


async def chunks(server: Running, **fields: Any) -> list[dict[str, Any]]:
    body = ask(stream=True, stream_options={"include_usage": True}, **fields)
    async with server.client.post(server.url + PATH, json=body) as response:
        raw = (await response.read()).decode()
    *lines, done, _ = raw.split("\n\n")
    assert done == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


async def test_the_text_is_the_prompt() -> None:
    """No template stands around a prompt, control tokens in it are control tokens, and all that the model says is text:
    neither thinking nor a call is looked for."""
    async with following() as (server, engine):
        reply = await fine(server, prompt="<|im_start|>Once upon")
        assert list(engine.jobs[-1].prompt) == await engine.tokenise(["<|im_start|>Once upon"])
        assert not engine.jobs[-1].visible
        assert [choice["text"] for choice in reply["choices"]] == ["".join(SAYS)]
        assert (reply["object"], reply["choices"][0]["finish_reason"]) == ("text_completion", "stop")
        assert reply["usage"]["prompt_tokens"] == len(engine.jobs[-1].prompt)


async def test_the_vocabulary_begins_it() -> None:
    """What the vocabulary demands at the beginning is there once."""
    async with following(start=(2,)) as (server, engine):
        for prompt in ("a", "<|endoftext|>a"):
            await fine(server, prompt=prompt)
            assert list(engine.jobs[-1].prompt) == [2, Scripted.id_of("a")]


@pytest.mark.parametrize("prompt", ["a b", [7, 8], ["a b", "c"], [[7, 8], [9]], ["a", [9]]])
async def test_each_prompt_has_its_choices_in_order(prompt: Any) -> None:
    """A text, its ids, or a list of either: so many choices of each, in their order, streamed as whole."""
    async with following() as (server, engine):
        count = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
        whole = await fine(server, prompt=prompt, n=2, return_token_ids=True)
        jobs = [list(job.prompt) for job in engine.jobs[-2 * count :]]
        assert [choice["index"] for choice in whole["choices"]] == list(range(2 * count))
        assert sorted(choice["prompt_token_ids"] for choice in whole["choices"]) == sorted(jobs)
        assert all(choice["token_ids"] == [*map(engine._known_id, SAYS)] for choice in whole["choices"])
        assert whole["usage"]["prompt_tokens"] == sum(map(len, jobs)) // 2
        assert whole["usage"]["completion_tokens"] == 2 * count * len(SAYS)
        told = await chunks(server, prompt=prompt, n=2, return_token_ids=True)
        texts = dict.fromkeys(range(2 * count), "")
        for choice in (choice for chunk in told for choice in chunk["choices"]):
            texts[choice["index"]] += choice["text"]
        assert set(texts.values()) == {"".join(SAYS)}
        assert told[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
        assert told[-1]["choices"] == []


async def test_seeds_of_choices_differ() -> None:
    """Choices of one seed have seeds of their own, else they would all be the same."""
    async with following() as (server, engine):
        await fine(server, n=3, seed=5)
        assert sorted(job.sampling.seed or 0 for job in engine.jobs[-3:]) == [5, 6, 7]


async def test_the_echo_comes_first() -> None:
    """The prompt comes first, text or ids, in a stream too."""
    async with following() as (server, engine):
        ids = await engine.tokenise(["Once upon"])
        for prompt in ("Once upon", ids):
            assert (await fine(server, prompt=prompt, echo=True))["choices"][0]["text"] == "Once upon" + "".join(SAYS)
        told = await chunks(server, echo=True)
        assert "".join(c["text"] for chunk in told for c in chunk["choices"]) == "Once upon" + "".join(SAYS)


async def test_logprobs_are_the_same_streamed() -> None:
    """Each token's text, probability, likeliest neighbours and place in the text; streamed they are the same."""
    async with following(Rule(pieces=("one", " two", "é"))) as (server, engine):
        said = (await fine(server, logprobs=2))["choices"][0]["logprobs"]
        ids = engine.sampled[-1]
        assert said["tokens"] == ["one", " two", "é"]
        assert said["token_logprobs"] == [-(id % 1000) / 1000 for id in ids]
        assert said["text_offset"] == [0, 3, 7]
        assert [next(iter(top)) for top in said["top_logprobs"]] == said["tokens"]
        told = [c["logprobs"] for chunk in await chunks(server, logprobs=2) for c in chunk["choices"] if c["logprobs"]]
        for member, values in said.items():
            assert [value for each in told for value in each[member]] == values
        assert (await fine(server, logprobs=0))["choices"][0]["logprobs"]["top_logprobs"] is None


async def test_stop_and_limit() -> None:
    """A stop sequence ends a text and is no part of it; a limit is told."""
    async with following(Rule(pieces=("a", "b", "STOP", "c"))) as (server, _):
        stopped = (await fine(server, stop="STOP"))["choices"][0]
        assert (stopped["text"], stopped["finish_reason"]) == ("ab", "stop")
        cut = (await fine(server, max_tokens=1))["choices"][0]
        assert (cut["text"], cut["finish_reason"]) == ("a", "length")


async def test_fills_the_middle() -> None:
    """Where a model has tokens for it, it is asked for what stands between prompt and suffix; else a 400 says so."""
    async with following(control_tokens=("<|im_end|>", *FIM)) as (server, engine):
        await fine(server, prompt="def f(", suffix="return 1")
        assert list(engine.jobs[-1].prompt) == await engine.tokenise(
            ["<fim_prefix>", "def f(", "<fim_suffix>", "return 1", "<fim_middle>"]
        )
    async with following() as (server, _):
        status, _, error = await server.post(ask(suffix="x"), PATH)
        assert (status, error["error"]["param"]) == (400, "suffix")


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("prompt", {"prompt": []}),
        ("prompt", {"prompt": ""}),
        ("prompt", {"prompt": None}),
        ("prompt.1", {"prompt": [[1], []]}),
        ("prompt.1", {"prompt": ["a", 5]}),
        ("prompt.0", {"prompt": [-1]}),
        ("prompt.0.1", {"prompt": [[1, "a"]]}),
        ("prompt", {"prompt": ["a"] * 65, "n": 2}),
        ("suffix", {"prompt": [1], "suffix": "a"}),
        ("logprobs", {"logprobs": 1, "echo": True}),
        ("logprobs", {"logprobs": 21}),
        ("n", {"n": 0}),
    ],
)
async def test_what_cannot_be(param: str, fields: Any) -> None:
    """Bad input is a 400 in the API's envelope that names the field."""
    async with following() as (server, _):
        status, _, error = await server.post(ask(**fields), PATH)
        assert status == 400, error
        assert error["error"]["param"] == param, error


async def test_a_failure_ends_the_stream_without_done() -> None:
    """A failure within a stream ends it without [DONE]; of several choices, one is enough."""
    async with following(Rule(pieces=("a", "b"), fail_after=1)) as (server, engine):
        async with server.client.post(server.url + PATH, json=ask(stream=True, n=3)) as response:
            raw = (await response.read()).decode()
        assert "[DONE]" not in raw
        assert "error" in raw.split("data: ")[-1]
        assert engine.running == 0


async def test_the_sdk_reads_completions() -> None:
    """OpenAI's SDK reads it, whole and streamed."""
    async with (
        following() as (server, _),
        openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as client,
    ):
        whole = await client.completions.create(model="default", prompt="Once", max_tokens=50, logprobs=1, n=2)
        Completion.model_validate(whole.model_dump())
        streamed = await client.completions.create(model="default", prompt="Once", max_tokens=50, stream=True)
        assert "".join([c.text async for chunk in streamed for c in chunk.choices]) == whole.choices[0].text
