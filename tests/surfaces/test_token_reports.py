"""Ids and log-probabilities that an engine cannot report: every API refuses them by their field."""

from __future__ import annotations

from typing import Any

import msgspec
import openai
import pytest

from antiphon.engines import Description
from antiphon.engines.scripted import Script, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from antiphon.surfaces.responses.token_ids import LOGPROBS
from tests.surfaces.conftest import Running, serving

USER = [{"role": "user", "content": "Hi"}]
CHAT = ("/v1/chat/completions", {"messages": USER})
TEXT = ("/v1/completions", {"prompt": "Hi"})
RESPONSE = ("/v1/responses", {"input": "Hi"})
MESSAGE = ("/v1/messages", {"messages": USER, "max_tokens": 100})


class Reserved(Scripted):
    """An engine that reports log-probabilities of so many alternatives (None: not even of what was sampled)."""

    def __init__(self, alternatives: int | None) -> None:
        super().__init__(Script())
        self._most = alternatives

    async def describe(self) -> Description:
        return msgspec.structs.replace(await super().describe(), alternatives=self._most)


async def served(alternatives: int | None) -> Service:
    return Service([await load(Reserved(alternatives), Choices())])


async def post(server: Running, api: tuple[str, dict[str, Any]], fields: dict[str, Any]) -> tuple[int, Any, Any]:
    path, body = api
    return await server.post({"model": "default", **body, **fields}, path)


@pytest.mark.parametrize(
    ("api", "field", "fields"),
    [
        (CHAT, "logprobs", {"logprobs": True, "top_logprobs": 2, "stream": True}),
        (TEXT, "logprobs", {"logprobs": 2}),
        (RESPONSE, "include.1", {"include": ["reasoning.encrypted_content", LOGPROBS]}),
        (MESSAGE, "return_logprob", {"return_logprob": True}),
    ],
)
async def test_no_log_probabilities(api: Any, field: str, fields: dict[str, Any]) -> None:
    """Where the engine reports none, the error names the field that asked, the model, and what to do."""
    async with serving(await served(None)) as server:
        status, _, error = await post(server, api, fields)
        assert status == 400
        said = f"{field}: the engine behind 'scripted' reports no log-probabilities; leave it out"
        assert error["error"]["message"] == said
        assert error["error"].get("param", field) == field


@pytest.mark.parametrize(
    ("api", "field", "fields"),
    [
        (CHAT, "top_logprobs", {"logprobs": True, "top_logprobs": 2}),
        (TEXT, "logprobs", {"logprobs": 2}),
        (RESPONSE, "top_logprobs", {"include": [LOGPROBS], "top_logprobs": 2}),
        (MESSAGE, "top_logprobs", {"return_logprob": True, "top_logprobs": 2}),
    ],
)
async def test_more_alternatives_than_there_are(api: Any, field: str, fields: dict[str, Any]) -> None:
    """Where the engine reports fewer alternatives, the error says how many; so many of them are served."""
    async with serving(await served(1)) as server:
        status, _, error = await post(server, api, fields)
        assert status == 400
        said = f"{field}: Input should be less than or equal to 1, as many as the engine behind 'scripted' reports"
        assert error["error"]["message"] == said
        assert (await post(server, api, {**fields, field: 1}))[0] == 200


@pytest.mark.parametrize(
    ("api", "fields"),
    [
        (CHAT, {"logprobs": False, "top_logprobs": 0}),
        (CHAT, {"logprobs": None, "top_logprobs": None}),
        (TEXT, {"logprobs": None}),
        (TEXT, {"logprobs": 0}),
        (RESPONSE, {"top_logprobs": 0, "include": []}),
        (MESSAGE, {"return_logprob": False, "return_token_ids": False}),
    ],
)
async def test_nothing_asked(api: Any, fields: dict[str, Any]) -> None:
    """A field that asks for nothing is no reason to refuse."""
    async with serving(await served(None)) as server:
        assert (await post(server, api, fields))[0] == 200


@pytest.mark.parametrize(
    ("api", "fields"),
    [
        (MESSAGE, {"return_token_ids": True, "context_management": {"edits": [{"type": "compact_20260112"}]}}),
        (MESSAGE, {"return_logprob": True, "context_management": {"edits": [{"type": "compact_20260112"}]}}),
        (RESPONSE, {"return_token_ids": True, "context_management": [{"type": "compaction"}]}),
    ],
)
async def test_what_is_sampled_in_several_parts(api: Any, fields: dict[str, Any]) -> None:
    """A reply that may begin with a summary has no tokens to tell: those of its prompt would be another's."""
    async with serving(await served(1)) as server:
        status, _, error = await post(server, api, fields)
        assert status == 400
        assert error["error"]["message"].startswith(f"{next(iter(fields))}: a reply with ")


async def test_what_the_sdk_sends_by_itself() -> None:
    """The default requests of OpenAI's SDK are answered where the engine reports nothing."""
    async with (
        serving(await served(None)) as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        chat: Any = await client.chat.completions.create(model="default", messages=USER)  # type: ignore[call-overload]
        assert chat.choices[0].logprobs is None
        assert (await client.completions.create(model="default", prompt="Hi")).choices[0].logprobs is None
        assert (await client.responses.create(model="default", input="Hi")).output_text
