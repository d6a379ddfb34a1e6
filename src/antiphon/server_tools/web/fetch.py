"""Web fetch: `web_fetch_20250910` and every later version.

Only addresses that stand in the conversation are fetched, so that what a page tells the model to do cannot carry
anything of the conversation to an address made up for it.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from antiphon.api.conversation import Tool
from antiphon.api.errors import BadRequest
from antiphon.server_tools.tool import (
    CHARACTERS,
    DIRECT,
    Call,
    Declared,
    Fields,
    ToolFailed,
    cut,
    error_block,
    server_use,
)
from antiphon.server_tools.web.domains import Domains
from antiphon.server_tools.web.known_urls import Sources, known
from antiphon.server_tools.web.outward import Outward, Page, Refused, TooMuch, reason
from antiphon.server_tools.web.pages import Reading, readable

RESULT = "web_fetch_tool_result"
LONGEST_URL = 2000
MAX_BYTES = 8 * 1024 * 1024
SECONDS = 20.0
KEPT_SECONDS = 900.0
KEPT_BYTES = 32 * 1024 * 1024
_MOST_CHARACTERS = 25_000 * CHARACTERS
"""Where the request sets no limit."""
_HEADERS = {
    "user-agent": "Mozilla/5.0 (compatible; Antiphon)",
    "accept": "text/html,application/xhtml+xml,text/plain,application/pdf;q=0.9,*/*;q=0.5",
}
_SCHEMA: Fields = {
    "type": "object",
    "properties": {"url": {"type": "string", "description": "The address, as it stands in the conversation."}},
    "required": ["url"],
}
_DESCRIPTION = (
    "Fetches the page or PDF at an address and returns its text. The address must stand in the conversation: in what "
    "the user wrote, or in the result of a tool."
)


class WebFetch:
    """The family. Pages are kept for a quarter of an hour."""

    name = "web_fetch"

    def __init__(self, outward: Outward, reading: Reading) -> None:
        self._outward = outward
        self._reading = reading
        self._pages: OrderedDict[str, tuple[float, Page]] = OrderedDict()
        self._size = 0

    def takes(self, kind: str) -> bool:
        """Every version of the type."""
        return re.fullmatch(r"web_fetch_\d+", kind) is not None

    def declare(self, kind: str, settings: Mapping[str, Any], where: str) -> list[Declared]:
        """The one tool of the declaration."""
        domains, sources = Domains.of(settings, where), Sources.of(settings, where)
        most = settings.get("max_content_tokens")
        if most is not None and (not isinstance(most, int) or most < 1):
            raise BadRequest(f"{where}.max_content_tokens: Input should be greater than or equal to 1")
        citations = settings.get("citations") if isinstance(settings.get("citations"), dict) else None
        fresh = settings.get("use_cache") is False

        async def run(call: Call) -> Fields:
            url = self._judged(call, domains, sources)
            page = await self._page(url, fresh=fresh)
            if not domains.allow(page.url):
                raise ToolFailed("url_not_allowed", "it leads to a domain that is not allowed")
            longest = most * CHARACTERS if most else min(_MOST_CHARACTERS, call.room)
            document = await self._document(page, longest)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            content = {**document, "citations": citations}
            result = {"type": "web_fetch_result", "url": page.url, "retrieved_at": now, "content": content}
            return {"caller": DIRECT, "content": result}

        return [
            Declared(
                tool=Tool(name="web_fetch", description=_DESCRIPTION, schema=_SCHEMA),
                family=self.name,
                use=server_use("web_fetch"),
                result=RESULT,
                run=run,
                failed=error_block(RESULT),
                counted="web_fetch_requests",
                late="url_not_accessible",
            )
        ]

    def _judged(self, call: Call, domains: Domains, sources: Sources) -> str:
        url = call.input.get("url")
        if not isinstance(url, str) or not url.strip():
            raise ToolFailed("invalid_tool_input", "url: a text is required")
        url = url.strip()
        if len(url) > LONGEST_URL:
            raise ToolFailed("url_too_long", f"url: {LONGEST_URL} characters at most")
        try:
            self._outward.judge(url)
        except (Refused, ValueError) as trouble:
            raise ToolFailed("url_not_allowed", str(trouble)) from None
        if not domains.allow(url):
            raise ToolFailed("url_not_allowed", "its domain is not allowed")
        if not known(url, call.conversation, sources):
            raise ToolFailed("url_not_in_prior_context", "it does not appear in the conversation")
        return url

    async def _page(self, url: str, *, fresh: bool) -> Page:
        now = asyncio.get_running_loop().time()
        cached = self._pages.get(url)
        if cached and now - cached[0] < KEPT_SECONDS and not fresh:
            return cached[1]
        page = await self._fetched(url)
        self._keep(url, now, page)
        return page

    async def _fetched(self, url: str) -> Page:
        try:
            async with self._outward.session(seconds=SECONDS) as session:
                page = await self._outward.get(session, url, most=MAX_BYTES, headers=_HEADERS)
        except Refused as trouble:
            raise ToolFailed("url_not_allowed", str(trouble)) from None
        except TooMuch as trouble:
            raise ToolFailed("content_too_large", str(trouble)) from None
        except (aiohttp.ClientError, OSError, ValueError) as trouble:
            raise ToolFailed("url_not_accessible", reason(trouble)) from None
        if page.status == 429:
            raise ToolFailed("too_many_requests", "the site allows no more requests for now")
        if page.status != 200:
            raise ToolFailed("url_not_accessible", f"the site answered {page.status}")
        return page

    def _keep(self, url: str, now: float, page: Page) -> None:
        if before := self._pages.pop(url, None):
            self._size -= len(before[1].data)
        self._pages[url] = (now, page)
        self._size += len(page.data)
        while self._size > KEPT_BYTES:
            self._size -= len(self._pages.popitem(last=False)[1][1].data)

    async def _document(self, page: Page, most: int) -> Fields:
        if page.media_type == "application/pdf":
            data = base64.b64encode(page.data).decode()
            source = {"type": "base64", "media_type": "application/pdf", "data": data}
            return {"type": "document", "source": source, "title": urlsplit(page.url).path.rpartition("/")[2] or None}
        if not readable(page.media_type):
            raise ToolFailed("unsupported_content_type", f"it is {page.media_type}")
        title, text = await asyncio.to_thread(self._reading.text, page)
        source = {"type": "text", "media_type": "text/plain", "data": cut(text, most, "the page")}
        return {"type": "document", "source": source, "title": title or None}

    async def trial(self) -> str:
        """See whether names can be resolved: what there is to fetch only a conversation knows."""
        try:
            await self._outward.resolve("example.com", 443)
        except Refused as trouble:
            raise ToolFailed("unavailable", str(trouble)) from None
        except OSError as trouble:
            why = f"no page of the internet can be fetched: example.com is not found ({trouble.strerror or trouble})"
            raise ToolFailed("unavailable", why) from None
        return "names are resolved, and pages are read by trafilatura"

    async def close(self) -> None:
        """Nothing is held open."""
