"""Antiphon before the real server, and beside it Antiphon with its embedded engine on the same model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.conftest import Server, serving
from tests.engines.cases import REAL, TOKENIZER
from tests.engines.real.environments import WINDOW

NAMED = ("--served-model-name", "local-model")
TEMPLATES = Path(__file__).parents[2] / "templates"


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Antiphon before the real server."""
    with serving(tmp_path_factory.mktemp("before"), REAL, "--tokenizer", TOKENIZER, *NAMED) as server:
        yield server


@pytest.fixture(scope="session")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with the chat template of a family whose replies begin inside thinking."""
    template = ("--chat-template", str(TEMPLATES / "qwen3_coder.jinja"))
    with serving(tmp_path_factory.mktemp("thinking"), REAL, "--tokenizer", TOKENIZER, *template, *NAMED) as server:
        yield server


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The embedded engine."""
    window = ("--context-length", str(WINDOW), "--threads", "1", "--parallel", "2")
    with serving(tmp_path_factory.mktemp("embedded"), *window, *NAMED) as server:
        yield server


async def streamed(server: Server, reads: int | None = None, **asked: Any) -> bytes:
    """A streamed reply, or nothing where its client leaves after so many `reads`."""
    body = {"model": "local-model", "stream": True, "max_tokens": 20, **asked}
    async with (
        aiohttp.ClientSession(headers={"anthropic-version": "2023-06-01"}) as client,
        client.post(server.url + "/v1/messages", json=body) as response,
    ):
        assert response.status == 200
        if reads is None:
            return await response.read()
        for _ in range(reads):
            await response.content.readany()
        return b""
