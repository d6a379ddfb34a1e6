"""What web search is done with: SearXNG, Brave, Tavily, or any command or address that gives JSON.

    searxng+http://127.0.0.1:8888      the JSON API of a SearXNG (`formats: [json]` in its settings)
    brave                              api.search.brave.com, with a key
    tavily                             api.tavily.com, with a key
    url+https://host/find?q={query}    JSON from an address
    command+/path/to/search --json     JSON from a program, which is given the query as its last argument

The last two give a list of objects with `url`, `title` and what the page says as `content`, `text`, `snippet` or
`description`; or an object that holds such a list as `results`.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from antiphon.server_tools.program import TooLong, running
from antiphon.server_tools.tool import ToolFailed
from antiphon.server_tools.web.search import Backend, Hit, UserLocation

MAX_BYTES = 4 * 1024 * 1024
SECONDS = 20.0
KINDS = ("searxng", "brave", "tavily", "url", "command")
_BRAVE = "https://api.search.brave.com/res/v1/web/search"
_TAVILY = "https://api.tavily.com/search"

Request = tuple[str, str, dict[str, Any]]
"""Method, address and what aiohttp is told more."""


def backend(address: str, key: str) -> Backend:
    """The backend that a setting names. Raises ValueError, in a sentence, when it names none."""
    kind, _, rest = address.partition("+")
    match kind:
        case "searxng" if urlsplit(rest).scheme in ("http", "https"):
            return Web(partial(_searxng, rest.rstrip("/")), "results")
        case "brave":
            return Web(partial(_brave, rest or _BRAVE, _needed(key, kind)), "web.results")
        case "tavily":
            return Web(partial(_tavily, rest or _TAVILY, _needed(key, kind)), "results")
        case "url" if urlsplit(rest).scheme in ("http", "https") and "{query}" in rest:
            return Web(partial(_templated, rest, key), "results")
        case "command" if rest.strip():
            return Command(shlex.split(rest))
    raise ValueError(
        f"web_search is {address!r}, which is no known search engine: it should be searxng+http://HOST, brave, tavily, "
        "url+https://HOST/PATH?q={query} or command+PROGRAM"
    )


def _needed(key: str, kind: str) -> str:
    if not key:
        raise ValueError(f"web_search is {kind}, which needs a key: set web_search_key")
    return key


def _searxng(base: str, query: str, place: UserLocation) -> Request:
    return "GET", f"{base}/search", {"params": {"q": query, "format": "json"}}


def _brave(url: str, key: str, query: str, place: UserLocation) -> Request:
    country = {"country": place.country} if len(place.country) == 2 else {}
    headers = {"x-subscription-token": key, "accept": "application/json"}
    return "GET", url, {"params": {"q": query, "extra_snippets": "true", **country}, "headers": headers}


def _tavily(url: str, key: str, query: str, place: UserLocation) -> Request:
    return "POST", url, {"json": {"query": query, "max_results": 10}, "headers": {"authorization": f"Bearer {key}"}}


def _templated(template: str, key: str, query: str, place: UserLocation) -> Request:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return "GET", template.replace("{query}", quote(query, safe="")), {"headers": headers}


class Web:
    """A backend at an address. The operator chose it, so it may be on a private network; it is asked nothing but the
    query, and never with anything of the client's. `path` leads to the list in the answer."""

    def __init__(self, request: Callable[[str, UserLocation], Request], path: str) -> None:
        self._request = request
        self._path = path
        self._session: aiohttp.ClientSession | None = None

    async def search(self, query: str, place: UserLocation) -> Sequence[Hit]:
        """Ask, and read the answer."""
        method, url, more = self._request(query, place)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        try:
            async with self._session.request(method, url, allow_redirects=False, **more) as response:
                if response.status == 429:
                    raise ToolFailed("too_many_requests", "the search engine allows no more queries for now")
                if response.status != 200:
                    raise ToolFailed("unavailable", f"the search engine answered {response.status}")
                return hits(await _limited(response), self._path)
        except (aiohttp.ClientError, OSError) as trouble:
            raise ToolFailed("unavailable", f"the search engine does not answer: {type(trouble).__name__}") from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()


class Command:
    """A program of the operator's. The query is an argument of its own: no shell reads it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    async def search(self, query: str, place: UserLocation) -> Sequence[Hit]:
        """Run it, and read what it prints."""
        try:
            # What begins with a dash would be taken for an option.
            async with asyncio.timeout(SECONDS), running(*self._command, query.lstrip("-")) as program:
                printed = await program.output(MAX_BYTES)
                status = await program.status()
        except TooLong:
            raise ToolFailed("unavailable", f"the search program printed more than {MAX_BYTES} bytes") from None
        except TimeoutError:
            raise ToolFailed("unavailable", f"the search program took more than {SECONDS:g} seconds") from None
        except OSError as trouble:
            raise ToolFailed("unavailable", f"the search program cannot be started: {trouble}") from None
        if status:
            raise ToolFailed("unavailable", f"the search program ended with {status}")
        return hits(printed, "results")

    async def close(self) -> None:
        """Nothing outlives a search."""


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > MAX_BYTES:
            raise ToolFailed("unavailable", f"the search engine answered with more than {MAX_BYTES} bytes")
    return bytes(body)


def hits(body: bytes, path: str) -> list[Hit]:
    """What an answer tells of. Raises ToolFailed when it is not what a backend answers."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise ToolFailed("unavailable", "the search engine did not answer in JSON") from None
    for step in path.split("."):
        value = value.get(step, []) if isinstance(value, dict) else value
    if not isinstance(value, list):
        raise ToolFailed("unavailable", "the search engine answered without a list of results")
    return [_hit(each) for each in value if isinstance(each, dict) and isinstance(each.get("url"), str)]


def _hit(fields: Mapping[str, Any]) -> Hit:
    excerpts = fields.get("extra_snippets")
    texts = [_first(fields, "content", "text", "snippet", "description")]
    texts += [each for each in excerpts if isinstance(each, str)] if isinstance(excerpts, list) else []
    return Hit(
        url=str(fields["url"]),
        title=_first(fields, "title", "name"),
        text="\n".join(filter(None, texts)),
        age=_first(fields, "publishedDate", "page_age", "published_date", "age") or None,
    )


def _first(fields: Mapping[str, Any], *keys: str) -> str:
    return next((value for key in keys if isinstance(value := fields.get(key), str) and value), "")
