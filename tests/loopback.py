"""An application served on loopback, as in production."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from granian.constants import Interfaces
from granian.server.embed import Server


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def listening(application: Any) -> AsyncIterator[str]:
    """The address of the application, once it answers."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    server = Server(application, port=port, interface=Interfaces.ASGI, log_enabled=False, backpressure=512)
    task = asyncio.ensure_future(server.serve())
    async with aiohttp.ClientSession() as client:
        for _ in range(1000):
            try:
                async with client.get(f"{url}/health"):
                    break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
    try:
        yield url
    finally:
        server.stop()
        await task
