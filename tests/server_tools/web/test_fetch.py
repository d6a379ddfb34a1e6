"""Web fetch: what lies at an address that the conversation names, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from aiohttp import web

from antiphon.api.conversation import Conversation, Text, ToolResult, ToolUse, Turn
from antiphon.api.seal import Seal
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.result import told_result
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.web import outward
from antiphon.server_tools.web.fetch import WebFetch
from antiphon.server_tools.web.known_urls import Sources, known
from antiphon.server_tools.web.outward import Outward
from antiphon.server_tools.web.pages import Reading
from tests.server_tools.serving import FETCH, call, running, says, user
from tests.server_tools.test_rounds import goes_on, kinds
from tests.server_tools.web.sites import PDF, SITE, listening

READING = Reading()


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """The address of a site on loopback."""
    async with listening(*SITE) as url:
        yield url


async def fetched(
    url: str, *, private: bool = True, seconds: float = 30.0, window: int = 200_000, **settings: Any
) -> dict[str, Any]:
    """The content of the result when the model fetches the address that the user named."""
    tools = ServerTools([WebFetch(Outward(allow_private=private), READING)], Bounds(seconds=seconds))
    async with running(tools, says(call("web_fetch", url=url), "Read.", "Again."), window=window) as server:
        messages = [user(f"Read {url}.")]
        message = await server.post(messages=messages, tools=[{**FETCH, **settings}])
        assert kinds(message) == ["server_tool_use", "web_fetch_tool_result", "text"]
        anthropic.types.Message.model_validate(message)
        await server.post(
            messages=[*messages, {"role": "assistant", "content": message["content"]}, user("Sure?")],
            tools=[{**FETCH, **settings}],
        )
        goes_on(server)
    content: dict[str, Any] = message["content"][1]["content"]
    return content


async def test_a_page_is_read(site: str) -> None:
    """Its title and text, with the addresses of its links and without its frame; the history is its own prefix."""
    content = await fetched(f"{site}/bees.html", citations={"enabled": True})
    document = content["content"]
    assert (content["type"], content["url"], document["title"]) == (
        "web_fetch_result",
        f"{site}/bees.html",
        "On bees",
    )
    text = document["source"]["data"]
    assert "fifty thousand" in text
    assert "more.html" in text
    assert "Imprint" not in text
    assert document["citations"] == {"enabled": True}


async def test_text_and_its_length(site: str) -> None:
    """Plain text as it is; a page too long for `max_content_tokens` is cut, and says so."""
    assert (await fetched(f"{site}/plain.txt"))["content"]["source"]["data"] == "Größe zählt."
    content = await fetched(f"{site}/bees.html", max_content_tokens=10)
    assert content["content"]["source"]["data"][40:].startswith("\n[cut here: the page has")


async def test_a_long_page_leaves_room_in_a_small_window() -> None:
    """Where the request sets no limit, a page takes half of the window at most, so that the message goes on."""

    async def long(request: web.Request) -> web.StreamResponse:
        return web.Response(text="bumblebees " * 10_000, content_type="text/plain")

    async with listening(web.get("/long", long)) as url:
        content = await fetched(f"{url}/long", window=12_000)
    data = content["content"]["source"]["data"]
    assert data[6_000 * 4 :] == "\n[cut here: the page has 110000 characters]"


@pytest.mark.parametrize(
    ("path", "private", "code"),
    [
        ("/to-file", True, "url_not_allowed"),
        ("/to-metadata", False, "url_not_allowed"),
        ("/bees.html", False, "url_not_allowed"),
        ("/round", True, "url_not_accessible"),
        ("/missing", True, "url_not_accessible"),
        ("/endless", True, "content_too_large"),
        ("/bomb", True, "content_too_large"),
        ("/picture.png", True, "unsupported_content_type"),
    ],
)
async def test_traps_are_errors_of_the_tool(site: str, path: str, private: bool, code: str) -> None:
    """Redirects inwards and to files, circles, endless pages, zip bombs: each an error of the tool's own."""
    content = await fetched(f"{site}{path}", private=private)
    assert content == {"type": "web_fetch_tool_result_error", "error_code": code}


@pytest.mark.parametrize("path", ["/to-metadata", "/to-loopback"])
async def test_a_redirect_inwards_is_refused(site: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the page itself was public."""
    monkeypatch.setattr(outward, "public", lambda address: address == "127.0.0.1")
    content = await fetched(f"{site}{path}", private=False)
    assert content["error_code"] == "url_not_allowed"


async def test_a_pdf_is_kept_whole_and_read(site: str) -> None:
    """The client gets the file, the model its text, and the history the same again."""
    content = await fetched(f"{site}/bees.pdf")
    assert base64.b64decode(content["content"]["source"]["data"]) == PDF
    (text,) = told_result({"content": content}, Seal(b"k"), lambda name: None, sees=False)[0].parts
    assert "Bees fly." in text.text


def conversation(*parts: Any, said: str = "") -> Conversation:
    """A user's words, then calls and results."""
    uses = [part for part in parts if isinstance(part, ToolUse)]
    results = [part for part in parts if isinstance(part, ToolResult)]
    turns = (Turn(role="user", parts=(Text(said),)), Turn(role="assistant", parts=tuple(uses)))
    return Conversation(turns=(*turns, Turn(role="user", parts=tuple(results))))


@pytest.mark.parametrize(
    ("url", "text", "expected"),
    [
        ("https://a.example/x", "see https://a.example/x.", True),
        ("https://a.example/x", "(https://a.example/x)", True),
        ("http://a.example/x/", "https://A.example/x#part", True),
        ("https://a.example/x", "at a.example/x, there", True),
        ("https://a.example", "https://a.example/", True),
        ("https://a.example/x?secret=1", "https://a.example/x", False),
        ("https://a.example/x", "https://a.example/x.html", False),
        ("https://a.example/x", "https://a.example/xy", False),
        ("https://a.example/x", "https://b.a.example/x", False),
        ("https://a.example/x", "https://a.example/X", False),
        ("https://a.example/x", "https://b.example/?to=a.example/x", True),
    ],
)
def test_which_addresses_stand_in_a_conversation(url: str, text: str, expected: bool) -> None:
    """Whole, whatever scheme, fragment or slash they have; never as a part of another."""
    assert known(url, conversation(said=text), Sources()) is expected


def test_by_whose_word() -> None:
    """The user's, that of client tools and of the server's own web tools, as far as `url_sources` lets them; never what
    the model said, nor an MCP server."""
    url, here = "https://a.example/x", (Text("https://a.example/x"),)
    use = ToolUse(id="srvtoolu_1", name="web_search", input="{}")
    found = conversation(use, ToolResult(tool_use_id="srvtoolu_1", parts=here))
    assert known(url, found, Sources())
    none = {"url_sources": {"server_tool_results": {"type": "none"}}}
    assert not known(url, found, Sources.of(none, "t"))
    named = {"type": "except", "tools": [{"type": "tool_reference", "name": "web_search"}]}
    assert not known(url, found, Sources.of({"url_sources": {"server_tool_results": named}}, "t"))
    other = conversation(
        ToolUse(id="mcptoolu_1", name="web_search", input="{}"), ToolResult(tool_use_id="mcptoolu_1", parts=here)
    )
    assert not known(url, other, Sources())
    model = Conversation(turns=(Turn(role="assistant", parts=here),))
    assert not known(url, model, Sources())


async def test_an_address_made_up_by_the_model_is_not_fetched(site: str) -> None:
    """So a page cannot have the conversation carried away in an address."""
    tools = ServerTools([WebFetch(Outward(allow_private=True), READING)])
    async with running(tools, says(call("web_fetch", url=f"{site}/bees.html?stolen=1"), "Sorry.")) as server:
        message = await server.post(messages=[user(f"Read {site}/bees.html")], tools=[FETCH])
    assert message["content"][1]["content"]["error_code"] == "url_not_in_prior_context"


async def test_pages_are_kept_for_a_while(site: str) -> None:
    """A second call does not go out again, unless it asks for a fresh page."""
    hits: list[str] = []

    async def counting(request: web.Request) -> web.StreamResponse:
        hits.append(request.path)
        return web.Response(text="here")

    async with listening(web.get("/counted", counting)) as url:
        tools = ServerTools([WebFetch(Outward(allow_private=True), READING)])
        fetch = call("web_fetch", url=f"{url}/counted")
        async with running(tools, says(fetch, fetch, "Done.", fetch, "Done.")) as server:
            await server.post(messages=[user(f"Read {url}/counted")], tools=[FETCH])
            assert len(hits) == 1
            await server.post(messages=[user(f"Read {url}/counted")], tools=[{**FETCH, "use_cache": False}])
    assert len(hits) == 2
