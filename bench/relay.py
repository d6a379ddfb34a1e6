"""The floor: the least that a Python server can do with a token, to measure others against.

aiohttp reads the engine's stream, msgspec decodes each event and encodes its text again, and a frame of the Messages
API is written for each. No parser, no tools, no usage, no checks. Run under the same HTTP server as Antiphon:

    granian --interface asgi bench.relay:application
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import aiohttp
import msgspec

UPSTREAM = os.environ.get("RELAY_UPSTREAM", "http://127.0.0.1:8080")
_ENGINE_HEAD = b"data: "
_BEFORE = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":'
)
_AFTER = b"}}\n\n"
_BEGIN = b'event: message_start\ndata: {"type":"message_start"}\n\n'
_END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class _Event(msgspec.Struct):
    content: str = ""
    stop: bool = False


class _Request(msgspec.Struct):
    max_tokens: int = 16


_event = msgspec.json.Decoder(_Event).decode
_request = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


class Relay:
    """An ASGI application: POST anything, get the engine's stream as frames."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        head: list[tuple[bytes, bytes]] = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        if scope["method"] == "POST":
            # Without a watch on the client, a relay would serve the dead.
            encoder = asyncio.ensure_future(self._tell(body, send))
            leaving = asyncio.ensure_future(receive())
            await asyncio.wait((encoder, leaving), return_when=asyncio.FIRST_COMPLETED)
            for task in (encoder, leaving):
                task.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _tell(self, body: bytes, send: Any) -> None:
        if self._client is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._client = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))
        await send({"type": "http.response.body", "body": _BEGIN, "more_body": True})
        asked = {"prompt": [1, 2, 3], "n_predict": _request(body).max_tokens, "stream": True}
        rest = b""
        async with self._client.post(UPSTREAM + "/completion", json=asked) as response:
            async for data in response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                events = [_event(line[6:]) for line in lines if line.startswith(_ENGINE_HEAD)]
                frames = b"".join([_BEFORE + _encode(event.content) + _AFTER for event in events if event.content])
                if frames:
                    await send({"type": "http.response.body", "body": frames, "more_body": True})
        await send({"type": "http.response.body", "body": _END, "more_body": True})


application = Relay()
