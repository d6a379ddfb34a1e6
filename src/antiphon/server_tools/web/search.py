"""Web search: `web_search_20250305` and every later version.

The result's addresses and titles are for the client to show; what the pages say is sealed, as the original does it, and
opened again when the conversation comes back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from antiphon.api.conversation import Tool
from antiphon.api.errors import BadRequest
from antiphon.server_tools.tool import DIRECT, Call, Declared, Fields, ToolFailed, error_block, server_use
from antiphon.server_tools.web.domains import Domains

RESULT = "web_search_tool_result"
LONGEST_QUERY = 1000
"""In characters; longer is `query_too_long`."""
MOST_RESULTS = 10
MOST_CHARACTERS = 4000
"""Of what a page says, in the result."""

ASKED_FOR = "Perform a web search for the query"
"""A coding assistant delegates its web search to a request of its own, with this sentence and this one tool."""

_SCHEMA: Fields = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "What to search for."}},
    "required": ["query"],
}
_DESCRIPTION = (
    "Searches the web and returns titles, addresses and excerpts of pages. Use it for what may have changed since you "
    "were trained, and for whatever you do not know for certain."
)


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One page that was found. `age` is when it was published, in whatever words the backend has."""

    url: str
    title: str
    text: str = ""
    age: str | None = None


class UserLocation(msgspec.Struct, frozen=True, kw_only=True):
    """Where the user is, about: `user_location` of a request."""

    city: str = ""
    region: str = ""
    country: str = ""
    timezone: str = ""


class Backend(Protocol):
    """Something that searches."""

    async def search(self, query: str, place: UserLocation) -> Sequence[Hit]:
        """What was found, the best first. Raises ToolFailed."""

    async def close(self) -> None:
        """Let go of its connections."""


class WebSearch:
    """The family, over one backend."""

    name = "web_search"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def takes(self, kind: str) -> bool:
        """Every version of the type."""
        return re.fullmatch(r"web_search_\d+", kind) is not None

    def declare(self, kind: str, settings: Mapping[str, Any], where: str) -> list[Declared]:
        """The one tool of the declaration."""
        domains = Domains.of(settings, where)
        place = _place(settings, where)

        async def run(call: Call) -> Fields:
            return await self._search(call, domains, place)

        tool = Tool(name="web_search", description=_DESCRIPTION + _near(place), schema=_SCHEMA)
        return [
            Declared(
                tool=tool,
                family=self.name,
                use=server_use("web_search"),
                result=RESULT,
                run=run,
                failed=error_block(RESULT),
                counted="web_search_requests",
                asked_for=ASKED_FOR,
            )
        ]

    async def _search(self, call: Call, domains: Domains, place: UserLocation) -> Fields:
        query = call.input.get("query")
        if not isinstance(query, str) or not query.strip():
            raise ToolFailed("invalid_tool_input", "query: a text is required")
        if len(query) > LONGEST_QUERY:
            raise ToolFailed("query_too_long", f"query: {LONGEST_QUERY} characters at most")
        hits = await self._backend.search(domains.narrowed(query.strip()), place)
        pages = [hit for hit in hits if _is_page(hit.url) and domains.allow(hit.url)]
        content = [
            {
                "type": "web_search_result",
                "url": hit.url,
                "title": hit.title or hit.url,
                "encrypted_content": call.seal.sign(hit.text[:MOST_CHARACTERS], withheld=True),
                "page_age": hit.age,
            }
            for hit in pages[:MOST_RESULTS]
        ]
        return {"caller": DIRECT, "content": content}

    async def trial(self) -> str:
        """Search for a word."""
        hits = await self._backend.search("weather", UserLocation())
        return f"a search for “weather” found {len(hits)} pages"

    async def close(self) -> None:
        """Let go of the backend."""
        await self._backend.close()


def _is_page(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def _place(settings: Mapping[str, Any], where: str) -> UserLocation:
    location = settings.get("user_location") or {}
    try:
        return msgspec.convert({key: value for key, value in location.items() if value is not None}, UserLocation)
    except (msgspec.ValidationError, AttributeError) as trouble:
        raise BadRequest(f"{where}.user_location: {trouble}") from None


def _near(place: UserLocation) -> str:
    named = ", ".join(filter(None, (place.city, place.region, place.country)))
    return f" The user is near {named}." if named else ""
