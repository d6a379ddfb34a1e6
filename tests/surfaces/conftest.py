"""A real server on a loopback socket, in front of a scripted service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from antiphon import surfaces
from antiphon.storage.store import Store, open_store
from tests.loopback import listening
from tests.surfaces.scripted_service import ScriptedService


class Running:
    """A running server: its service, its address, and requests to it."""

    def __init__(self, service: ScriptedService, url: str, client: aiohttp.ClientSession) -> None:
        self.service = service
        self.url = url
        self.client = client

    def ask(self, **fields: Any) -> dict[str, Any]:
        return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}

    async def post(self, body: Any, path: str = "/v1/messages", **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and JSON of a POST."""
        sent = {"anthropic-version": "2023-06-01", **{key.replace("_", "-"): value for key, value in headers.items()}}
        given = {"data": body} if isinstance(body, bytes) else {"json": body}
        if isinstance(body, bytes):
            sent.setdefault("content-type", "application/json")
        async with self.client.post(self.url + path, headers=sent, **given) as response:
            return response.status, response.headers, await response.json()

    async def stream(self, body: Any, **headers: str) -> tuple[int, Any, bytes]:
        """Status, headers and bytes of a streamed reply."""
        sent = {"anthropic-version": "2023-06-01", **headers}
        async with self.client.post(self.url + "/v1/messages", headers=sent, json={**body, "stream": True}) as response:
            return response.status, response.headers, await response.read()


@asynccontextmanager
async def serving(service: ScriptedService, **options: Any) -> AsyncIterator[Running]:
    given = surfaces.Options(**{"seal_key": b"a key for tests", "ping_interval": 0.2, "first_wait": 0.1, **options})
    async with listening(surfaces.build(service, given)) as url, aiohttp.ClientSession() as client:
        yield Running(service, url, client)


@pytest.fixture
def service() -> ScriptedService:
    """A service that answers `Hello there`."""
    return ScriptedService()


@pytest.fixture
async def server(service: ScriptedService) -> AsyncIterator[Running]:
    """A server in front of it."""
    async with serving(service) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """SQLite and a folder."""
    opened = open_store(f"sqlite:///{tmp_path}/store.sqlite", str(tmp_path / "contents"))
    yield opened
    opened.close()


@pytest.fixture
async def keeping(service: ScriptedService, store: Store) -> AsyncIterator[Running]:
    """A server that keeps what it is given."""
    async with serving(service, store=store) as running:
        yield running


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """No log line for each request."""
    logging.getLogger("antiphon.http").setLevel(logging.ERROR)
