"""A chat server on loopback that answers with prepared events, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web


class Far:
    """The server. `replies` are told one after the other, the last one again and again: the events of a stream, seconds
    between them, or a response that is none."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([web.get("/v1/models", self._models), web.post("/v1/chat/completions", self._complete)])
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "org/far", "max_model_len": 4096, "created": 5}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.headers.append(request.headers)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, web.Response):
            return web.Response(status=reply.status, text=reply.text, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in reply:
            if isinstance(event, float):
                await asyncio.sleep(event)
                continue
            data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            await response.write(f"data: {data}\n\n".encode())
        return response


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """An event with this delta."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call(index: int | None, name: str | None = None, arguments: Any = None, id: str | None = None) -> dict[str, Any]:
    """A part of a call, without the members that are None."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    told = {"index": index, "id": id, "function": function}
    return {key: value for key, value in told.items() if value is not None}


def used(prompt: int, output: int, cached: int = 0) -> dict[str, Any]:
    """The event with the figures."""
    details = {"cached_tokens": cached}
    return {
        "choices": [],
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "prompt_tokens_details": details},
    }
