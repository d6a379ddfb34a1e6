"""The OpenAI-compatible endpoint over a real socket: replies, streams, failures, keys, disconnects."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.api.errors import EngineFailed, Overloaded, PromptTooLong
from antiphon.api.events import Started, TextDelta, Usage
from antiphon.settings.keys import hashed
from tests.surfaces.chat_completions.chunks import chunks, told
from tests.surfaces.conftest import serving
from tests.surfaces.scripted_service import TWO_CALLS, ScriptedService, plain

PATH = "/v1/chat/completions"
USAGE = Usage(prompt=7, cached=2, output=3, thinking=1)
FOREVER = 3600.0
MESSAGES: Any = [{"role": "user", "content": "Hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": name}} for name in ("look", "wait")]


async def stream(server: Any, **fields: Any) -> tuple[int, Any, bytes]:
    """Status, headers and bytes of a streamed reply."""
    body = {"model": "m", "messages": MESSAGES, "stream": True, **fields}
    async with server.client.post(server.url + PATH, json=body) as response:
        return response.status, response.headers, await response.read()


async def post(server: Any, **fields: Any) -> tuple[int, Any, Any]:
    """Status, headers and JSON of a whole reply."""
    body = {"model": "m", "messages": MESSAGES, **fields}
    async with server.client.post(server.url + PATH, json=body) as response:
        return response.status, response.headers, await response.json()


async def test_a_plain_reply(server: Any) -> None:
    """Every member of the completion; ids are fresh, the model's name is the client's."""
    status, headers, completion = await post(server)
    assert status == 200
    assert headers["x-request-id"] == headers["request-id"]
    assert completion.pop("id").startswith("chatcmpl-")
    assert isinstance(completion.pop("created"), int)
    assert completion == {
        "object": "chat.completion",
        "model": "m",
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/"])
async def test_every_spelling_of_the_path_works(server: Any, path: str) -> None:
    """Base URLs with and without /v1; no anthropic-version is asked for."""
    async with server.client.post(server.url + path, json={"model": "m", "messages": MESSAGES}) as response:
        assert response.status == 200


async def test_a_stream_says_what_the_whole_reply_says() -> None:
    """Fold law over the socket, with reasoning, text and two calls; the stream is not cached nor buffered."""
    async with serving(ScriptedService(TWO_CALLS)) as server:
        status, headers, raw = await stream(server, tools=TOOLS)
        _, _, completion = await post(server, tools=TOOLS)
    assert status == 200
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    (choice,) = completion["choices"]
    message = choice["message"]
    assert told(raw) == {
        "content": message["content"],
        "reasoning_content": message["reasoning_content"],
        "tool_calls": [{"index": at, **call} for at, call in enumerate(message["tool_calls"])],
        "finish_reason": choice["finish_reason"],
    }
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"where": "hére"}', "{}"]
    assert choice["finish_reason"] == "tool_calls"


async def test_silence_is_broken_by_comments() -> None:
    """The first chunk does not wait for the engine; pings are comments, which every client skips."""
    service = ScriptedService([0.8, *plain(cached=2)])
    async with serving(service) as server:
        _, _, raw = await stream(server, stream_options={"include_usage": True})
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k") as client:
            running = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in running])
    first, *_ = raw.split(b"\n\n")
    assert b'"role":"assistant"' in first
    assert raw.index(b": ping\n\n") < raw.index(b"Hello")
    assert chunks(raw)[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}
    assert text == "Hello there"


async def test_no_ping_follows_the_end() -> None:
    """A service that takes its time to close after the last batch adds nothing to the stream."""
    async with serving(ScriptedService([*plain(), 0.5])) as server:
        _, _, raw = await stream(server)
    assert raw.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_goes_away_frees_the_engine(streamed: bool) -> None:
    """Closing is cancelling, on this surface too."""
    service = ScriptedService([[Started(USAGE), TextDelta("a")], FOREVER])
    async with serving(service) as server:
        asking = asyncio.ensure_future((stream if streamed else post)(server))
        await service.begun.wait()
        asking.cancel()
        await service.closed.wait()
        assert service.running == 0


async def test_a_failure_before_the_first_byte_has_its_status() -> None:
    """Streamed or not: status, envelope, code, and whether to try again."""
    service = ScriptedService([Overloaded("all slots are taken", retry_after=3)])
    async with serving(service) as server:
        for ask in (stream, post):
            status, headers, body = await ask(server)
            body = json.loads(body) if isinstance(body, bytes) else body
            assert (status, headers["retry-after"], headers["x-should-retry"]) == (503, "3", "true")
            assert body == {
                "error": {
                    "message": "all slots are taken",
                    "type": "server_error",
                    "param": None,
                    "code": "overloaded",
                }
            }
        service.refusal = PromptTooLong(9000, 8192)
        status, headers, body = await post(server, stream=True)
    assert (status, headers["x-should-retry"]) == (400, "false")
    assert body["error"]["code"] == "context_length_exceeded"
    assert body["error"]["message"] == "prompt is too long: 9000 tokens > 8192 maximum"


@pytest.mark.parametrize("failure", [EngineFailed("the engine died"), RuntimeError("private"), None])
async def test_a_failure_in_the_stream_ends_it(failure: Exception | None) -> None:
    """One error chunk, no [DONE], nothing of our insides; the SDK raises."""
    script: list[Any] = [[Started(USAGE), TextDelta("a")], 0.05, *([failure] if failure else [])]
    async with serving(ScriptedService(script)) as server:
        status, _, raw = await stream(server)
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="k", max_retries=0) as client:
            running = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            with pytest.raises(openai.APIError) as caught:
                async for _ in running:
                    pass
    error = chunks(raw)[-1]["error"]
    assert status == 200
    assert error["type"] == "server_error"
    assert caught.value.message == error["message"]
    assert "private" not in raw.decode()
    assert b"[DONE]" not in raw


async def test_an_unstreamed_reply_that_breaks_off_is_an_error() -> None:
    """No half reply is ever passed off as a whole one."""
    async with serving(ScriptedService([[Started(USAGE), TextDelta("a")]])) as server:
        status, _, body = await post(server)
    assert (status, body["error"]["type"]) == (500, "server_error")


async def test_the_sdk_raises_its_own_errors() -> None:
    """Each status becomes the exception that programs catch, with code, param and request id."""
    options = {"accounts": Accounts(keys=Keyring((hashed("right"),))), "max_body": 2000}
    async with serving(ScriptedService(), **options) as server:

        async def refused(kind: type[openai.APIStatusError], key: str = "right", **fields: Any) -> Any:
            asked: Any = {"model": "m", "messages": MESSAGES, **fields}
            async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0) as client:
                with pytest.raises(kind) as caught:
                    await client.chat.completions.create(**asked)
                assert str(caught.value.request_id).startswith("req_")
                return caught.value

        wrong = await refused(openai.AuthenticationError, key="wrong")
        assert wrong.code == "invalid_api_key"
        missing = await refused(openai.NotFoundError, model="missing")
        assert (missing.code, missing.param) == ("model_not_found", "model")
        bad = await refused(openai.BadRequestError, n=0)
        assert (bad.param, bad.type) == ("n", "invalid_request_error")
        large = await refused(openai.APIStatusError, messages=[{"role": "user", "content": "x" * 3000}])
        assert large.status_code == 413


async def test_what_was_ignored_is_named_in_a_header(server: Any) -> None:
    """And the prompt cache key tells which conversation a request belongs to."""
    _, headers, _ = await post(server, min_p=0.1, logit_bias={"1": 2}, user="me", prompt_cache_key="abc")
    assert headers["antiphon-ignored"] == "logit_bias, min_p"
    assert server.service.prepared[-1][3] == "abc"


async def test_a_body_must_be_json(server: Any) -> None:
    """A form that a web page may send without asking first is not read."""
    async with server.client.post(server.url + PATH, data=b"{}", headers={"content-type": "text/plain"}) as response:
        assert response.status == 400
        assert "content-type" in (await response.json())["error"]["message"]


async def test_pictures_are_fetched_under_the_same_rules(server: Any) -> None:
    """What lies at a private address stays there."""
    content = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:9/a.png"}}]
    status, _, body = await post(server, model="seeing-model", messages=[{"role": "user", "content": content}])
    assert status == 400
    assert body["error"]["param"] == "messages.0.content.0.image_url.url"
