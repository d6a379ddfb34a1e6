"""Weights that change in a real server, by its own call."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.conftest import Server
from tests.engines.cases import REAL, TOKENIZER
from tests.engines.real import environments

pytestmark = pytest.mark.skipif(
    not REAL.startswith(("vllm", "sglang")),
    reason="of `make engines-real` for vllm and sglang, which take them anew",
)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same model with other weights."""
    folder = tmp_path_factory.mktemp("weights") / "other"
    script = Path(environments.__file__).with_name("other_weights.py")
    subprocess.run([environments.python(REAL.partition("+")[0]), script, TOKENIZER, folder], check=True)
    return folder


async def post(server: Server, path: str, body: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers={"anthropic-version": "2023-06-01"}) as client,
        client.post(server.url + path, json=body) as response,
    ):
        return response.status, await response.json()


async def reloaded(server: Server, **body: Any) -> tuple[int, Any]:
    return await post(server, "/v1/models/local-model/reload", body)


async def said(server: Server) -> tuple[list[Any], int]:
    """What it says to a long prompt without luck, and how many of the prompt's tokens were cached."""
    messages = [{"role": "user", "content": "Tell me of the sea. " * 60}]
    body = {"model": "local-model", "max_tokens": 12, "temperature": 0, "messages": messages}
    status, reply = await post(server, "/v1/messages", {**body, "return_token_ids": True})
    assert status == 200, reply
    return reply["output_ids"], reply["usage"]["cache_read_input_tokens"]


async def test_weights_are_taken_from_another_place_and_back(before: Server, elsewhere: Path) -> None:
    """Nothing that was computed with the old weights is used; from a place without any, the old ones stay in force;
    a reload without a place takes those in force anew."""
    own, _ = await said(before)
    assert (await said(before))[1] > 0
    status, answer = await reloaded(before, weights=str(elsewhere))
    assert status == 200, answer
    changed, cached = await said(before)
    assert (changed != own, cached) == (True, 0)
    status, answer = await reloaded(before, weights=str(elsewhere / "nowhere"))
    assert status in (400, 500), answer
    assert (await said(before))[0] == changed
    status, answer = await reloaded(before)
    assert status == 200, answer
    assert await said(before) == (changed, 0)
    status, answer = await reloaded(before, weights=TOKENIZER, mode="abort")
    assert status == 200, answer
    assert (await said(before))[0] == own
