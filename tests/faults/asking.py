"""A client that asks, and one that goes away in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import aiohttp

HEADERS = {"anthropic-version": "2023-06-01"}


def body(text: str, *, stream: bool = True, max_tokens: int = 1000) -> dict[str, Any]:
    """A request of one turn, whose reply is the likeliest: a long one is long each time."""
    messages = [{"role": "user", "content": text}]
    return {"model": "default", "max_tokens": max_tokens, "stream": stream, "messages": messages, "temperature": 0}


async def ask(client: aiohttp.ClientSession, url: str, text: str, **fields: Any) -> tuple[int, bytes]:
    """Status and bytes of the whole answer; what came until then when the connection is cut."""
    async with client.post(url + "/v1/messages", json=body(text, **fields), headers=HEADERS) as response:
        raw = b""
        with contextlib.suppress(aiohttp.ClientPayloadError, aiohttp.ClientOSError):
            async for chunk in response.content.iter_any():
                raw += chunk
        return response.status, raw


async def stream(client: aiohttp.ClientSession, url: str, text: str, begun: asyncio.Event, **fields: Any) -> bytes:
    """The bytes of a stream to its end; `begun` is set when some of the reply has come."""
    raw = b""
    async with client.post(url + "/v1/messages", json=body(text, **fields), headers=HEADERS) as response:
        async for chunk in response.content.iter_any():
            raw += chunk
            if raw.count(b"content_block_delta") > 6:
                begun.set()
    return raw


async def leave(url: str, text: str, rng: random.Random, longest: float, **fields: Any) -> str:
    """Ask over a connection of its own and go away at a random moment; says whether the answer was over by then."""
    async with aiohttp.ClientSession() as client:
        try:
            await asyncio.wait_for(ask(client, url, text, **fields), rng.random() * longest)
        except TimeoutError:
            return "left"
        return "answered"
