"""Loopback servers that tools are tried on: a search engine with SearXNG's JSON API, and a small site, some pages of
which are traps."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

ARTICLE = """<!doctype html><html><head><title>On bees</title></head><body><nav><a href="/">Home</a></nav>
<article><h1>On bees</h1>
<p>Bees fly from flower to flower, and bring home what they find there for the winter that always comes.</p>
<p>A colony may have some fifty thousand of them, of which nearly all are workers that live for six weeks.</p>
<p>More is told on <a href="/more.html">another page</a>, which is shorter than this one and says much less.</p>
</article><footer>Imprint</footer></body></html>"""


@asynccontextmanager
async def listening(*routes: web.RouteDef) -> AsyncIterator[str]:
    """The address of a server with these routes."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class SearchEngine:
    """Answers every query with these results, once it is `free`. `asked` are the queries; `begun` says that there was
    one, `left` that an asker went away before it was answered."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self.results = list(results)
        self.asked: list[str] = []
        self.status = 200
        self.free = asyncio.Event()
        self.free.set()
        self.begun = asyncio.Event()
        self.left = asyncio.Event()

    async def search(self, request: web.Request) -> web.StreamResponse:
        assert request.query["format"] == "json"
        self.asked.append(request.query["q"])
        self.begun.set()
        try:
            await self.free.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        return web.json_response({"query": request.query["q"], "results": self.results}, status=self.status)

    def route(self) -> web.RouteDef:
        return web.get("/search", self.search)


def found(title: str, url: str, content: str = "", **more: Any) -> dict[str, Any]:
    """A result as SearXNG gives it."""
    return {"title": title, "url": url, "content": content, **more}


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/html"})
    await response.prepare(request)
    while True:
        await response.write(b"<p>and on</p>" * 5000)


def _moved(to: str) -> Any:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"location": to})

    return answer


def page(body: bytes, kind: str = "text/html", **headers: str) -> Any:
    """A handler that gives this body."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"content-type": kind, **headers})

    return answer


PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj "
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 100]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj "
    b"4 0 obj<</Length 39>>stream\nBT /F 12 Tf 10 50 Td (Bees fly.) Tj ET\nendstream endobj "
    b"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj trailer<</Root 1 0 R>>"
)
SITE = (
    web.get("/bees.html", page(ARTICLE.encode(), "text/html; charset=utf-8")),
    web.get("/plain.txt", page("Größe zählt.".encode(), "text/plain; charset=utf-8")),
    web.get("/picture.png", page(b"\x89PNG", "image/png")),
    web.get("/bees.pdf", page(PDF, "application/pdf")),
    web.get("/gone", page(b"")),
    web.get("/endless", _endless),
    web.get("/bomb", page(gzip.compress(b"\0" * 200_000_000, 9), "text/html", **{"content-encoding": "gzip"})),
    web.get("/to-file", _moved("file:///etc/passwd")),
    web.get("/to-metadata", _moved("http://169.254.169.254/latest/meta-data")),
    web.get("/to-loopback", _moved("http://127.0.0.2:9/admin")),
    web.get("/round", _moved("/round")),
)
