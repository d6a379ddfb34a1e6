"""A server between Antiphon and an engine, which hands on what is asked, or answers as no engine does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

HTML = "<!doctype html>\n<title>Welcome to the router</title>"
_ANSWERS: dict[str, tuple[int, str, str]] = {
    "html": (200, "text/html", HTML),
    "empty": (200, "application/json", ""),
    "401": (401, "application/json", '{"error": {"message": "who are you?"}}'),
    "404": (404, "text/html", HTML),
    "500": (500, "text/plain", "out of order"),
    "object": (200, "application/json", '{"hello": ["world"]}'),
    "array": (200, "application/json", "[1, 2]"),
}


class Relay:
    """The server before the one at the address `behind`. `trouble` says what it does instead of handing on."""

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.trouble = ""
        self.url = ""

    @asynccontextmanager
    async def there(self) -> AsyncIterator[Relay]:
        """Listen on a free port."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if self.trouble == "hangs":
            await asyncio.sleep(60)
        if self.trouble == "closes":
            assert request.transport
            request.transport.close()
            return web.Response()
        if self.trouble in _ANSWERS:
            status, type, text = _ANSWERS[self.trouble]
            return web.Response(status=status, content_type=type, text=text)
        headers = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        async with (
            aiohttp.ClientSession() as client,
            client.request(
                request.method, self.behind + request.path, data=await request.read(), headers=headers
            ) as response,
        ):
            body = await response.read()
            return web.Response(status=response.status, body=body, content_type=response.content_type)
