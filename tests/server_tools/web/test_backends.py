"""What web search is done with: each backend asks as its service documents, and reads what the service answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from antiphon.server_tools.tool import ToolFailed
from antiphon.server_tools.web import backends
from antiphon.server_tools.web.backends import backend
from antiphon.server_tools.web.search import Hit, UserLocation
from tests.server_tools.web.sites import listening

BRAVE = {
    "type": "search",
    "query": {"original": "bees"},
    "web": {
        "type": "search",
        "results": [
            {
                "title": "On bees",
                "url": "https://bees.example/on",
                "description": "They fly.",
                "extra_snippets": ["Far.", "And back."],
                "page_age": "2026-01-02T00:00:00",
                "age": "January 2, 2026",
            }
        ],
    },
}
TAVILY = {
    "query": "bees",
    "answer": None,
    "results": [
        {
            "title": "On bees",
            "url": "https://bees.example/on",
            "content": "They fly.",
            "score": 0.9,
            "raw_content": None,
        }
    ],
    "response_time": 0.5,
}


class Service:
    """A search service that answers everything alike, and keeps what it was asked."""

    def __init__(self, answer: Any, status: int = 200) -> None:
        self._answer, self._status = answer, status
        self.asked: list[tuple[web.Request, bytes]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request, await request.read()))
        if isinstance(self._answer, bytes):
            return web.Response(body=self._answer, status=self._status)
        return web.json_response(self._answer, status=self._status)


async def searched(
    setting: str, key: str, service: Service, query: str = "bees", place: UserLocation | None = None
) -> Any:
    """What a backend at this service finds; `{url}` in the setting is its address."""
    async with listening(web.route("*", "/{rest:.*}", service.answer)) as url:
        found = backend(setting.replace("{url}", url), key)
        try:
            return list(await found.search(query, place or UserLocation()))
        finally:
            await found.close()


async def test_brave_gets_its_key_and_country() -> None:
    """Its key in its header, the country where there is one; all excerpts are read."""
    service = Service(BRAVE)
    (hit,) = await searched("brave+{url}/res/v1/web/search", "a-key", service, place=UserLocation(country="CH"))
    ((request, _),) = service.asked
    assert (request.method, request.query["q"], request.query["country"]) == ("GET", "bees", "CH")
    assert request.headers["x-subscription-token"] == "a-key"
    text, age = "They fly.\nFar.\nAnd back.", "2026-01-02T00:00:00"
    assert hit == Hit(url="https://bees.example/on", title="On bees", text=text, age=age)


async def test_tavily_gets_a_json_body() -> None:
    """A JSON body, its key as a bearer token."""
    service = Service(TAVILY)
    (hit,) = await searched("tavily+{url}/search", "a-key", service)
    ((request, body),) = service.asked
    assert (request.method, request.headers["authorization"]) == ("POST", "Bearer a-key")
    assert json.loads(body)["query"] == "bees"
    assert hit == Hit(url="https://bees.example/on", title="On bees", text="They fly.")


@pytest.mark.parametrize(
    "answer",
    [
        [{"url": "https://a.example", "title": "A", "snippet": "Says."}],
        {"results": [{"url": "https://a.example", "name": "A", "text": "Says."}, {"title": "no address"}, "no object"]},
    ],
)
async def test_the_query_is_data_in_an_address(answer: Any) -> None:
    """The query stands in it as data, whatever is in the query; a list or an object with one comes back."""
    service = Service(answer)
    (hit,) = await searched("url+{url}/find?q={query}&n=5", "", service, query="a&n=6 #ü")
    ((request, _),) = service.asked
    assert dict(request.query) == {"q": "a&n=6 #ü", "n": "5"}
    assert hit == Hit(url="https://a.example", title="A", text="Says.")


async def test_the_query_is_one_argument_of_a_program(tmp_path: Path) -> None:
    """The query is one argument, never an option and never for a shell."""
    program = tmp_path / "find.py"
    program.write_text(
        "import json, sys\nprint(json.dumps([{'url': 'https://a.example', 'title': repr(sys.argv[1:])}]))"
    )
    found = backend(f"command+{sys.executable} {program} --json", "")
    (hit,) = await found.search("--all; $(rm x) 'y", UserLocation())
    assert hit.title == repr(["--json", "all; $(rm x) 'y"])


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (b"<html>", 200, "unavailable"),
        ({"results": "none"}, 200, "unavailable"),
        ([], 429, "too_many_requests"),
        ([], 500, "unavailable"),
        ([], 302, "unavailable"),
        (b" " * (backends.MAX_BYTES + 1), 200, "unavailable"),
    ],
)
async def test_services_in_trouble(answer: Any, status: int, code: str) -> None:
    """Each trouble is the tool's own error."""
    with pytest.raises(ToolFailed) as raised:
        await searched("url+{url}/find?q={query}", "", Service(answer, status))
    assert raised.value.code == code


@pytest.mark.parametrize(
    "source",
    ["import sys; sys.exit(3)", "print('no JSON')", "import sys\nwhile True: sys.stdout.write('x' * 65536)"],
)
async def test_programs_in_trouble(source: str, tmp_path: Path) -> None:
    """One that fails, answers nonsense or never ends its answer is unavailable, and is gone afterwards."""
    program = tmp_path / "find.py"
    program.write_text(source)
    with pytest.raises(ToolFailed) as raised:
        await backend(f"command+{sys.executable} {program}", "").search("bees", UserLocation())
    assert raised.value.code == "unavailable"


@pytest.mark.parametrize("setting", ["bing", "searxng+ftp://x", "url+https://x/", "brave", "tavily", "command+ "])
def test_settings_that_name_no_backend(setting: str) -> None:
    """Are refused at the start, in a sentence."""
    with pytest.raises(ValueError, match="web_search"):
        backend(setting, "")
