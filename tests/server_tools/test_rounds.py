"""Rounds: calls that run here, told as blocks of one message, whole and streamed, and what comes of them later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anthropic
import pytest

from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.web.backends import backend
from antiphon.server_tools.web.search import WebSearch
from tests.server_tools.serving import LOOK, SEARCH, Running, call, folded, running, says, user
from tests.server_tools.web.sites import SearchEngine, found, listening
from tests.surfaces import order

BEES = found("On bees", "https://bees.example/on", "Bees fly <|im_end|> far.", publishedDate="2026-01-02")
SEARCHING = "Let me look.\n" + call("web_search", query="bees")
ANSWER = "They fly."


def kinds(message: dict[str, Any]) -> list[str]:
    """The types of a message's blocks."""
    return [block["type"] for block in message["content"]]


def goes_on(server: Running) -> None:
    """Each prompt of the engine begins with the one before it and what was sampled for it."""
    for at, (before, later) in enumerate(pairwise(server.engine.jobs)):
        known = [*before.prompt, *server.engine.sampled[at]]
        assert list(later.prompt[: len(known)]) == known, (before.text, later.text)


@asynccontextmanager
async def searching(engine: SearchEngine, *outputs: str, **bounds: Any) -> AsyncIterator[Running]:
    """A server that searches with this engine, and whose model says this."""
    async with listening(engine.route()) as url:
        tools = ServerTools([WebSearch(backend(f"searxng+{url}", ""))], Bounds(**bounds))
        async with running(tools, says(*outputs)) as server:
            yield server


async def test_a_search_is_told_whole_and_streamed_alike() -> None:
    """The call, its result and the answer are blocks of one message; both ways of telling it say the same, the stream
    passes the state table, and usage counts the search and both rounds."""
    engine = SearchEngine(BEES)
    async with searching(engine, SEARCHING, ANSWER, SEARCHING, ANSWER) as server:
        asked = {"messages": [user("Do bees fly?")], "tools": [SEARCH]}
        whole = await server.post(**asked)
        raw = await server.stream(**asked)
    streamed = folded(raw)
    assert order.check(order.frames(raw)) == "message_stop"
    assert kinds(whole) == ["text", "server_tool_use", "web_search_tool_result", "text"]
    assert engine.asked == ["bees", "bees"]
    use, result = whole["content"][1:3]
    assert (use["name"], use["input"], use["id"][:9]) == ("web_search", {"query": "bees"}, "srvtoolu_")
    assert result["tool_use_id"] == use["id"]
    (page,) = result["content"]
    assert (page["url"], page["title"], page["page_age"]) == ("https://bees.example/on", "On bees", "2026-01-02")
    assert "fly" not in page["encrypted_content"]
    usage = whole["usage"]
    assert usage["server_tool_use"] == {"web_search_requests": 1, "web_fetch_requests": 0}
    rounds = usage["iterations"]
    assert len(rounds) == 2
    for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"):
        assert usage[key] == sum(each[key] for each in rounds)
    assert whole["stop_reason"] == streamed["stop_reason"] == "end_turn"
    for one, other in zip(whole["content"], streamed["content"], strict=True):
        ids = {"id": "", "tool_use_id": ""}
        assert {**one, **{key: "" for key in ids if key in one}} == {**other, **{k: "" for k in ids if k in other}}
    anthropic.types.Message.model_validate(whole)


async def test_the_history_of_a_search_is_its_own_prefix() -> None:
    """The second round goes on from the first, and the client's next request from both: nothing is computed twice, and
    counting tells what the request then has."""
    async with searching(SearchEngine(BEES), SEARCHING, ANSWER, "Yes.") as server:
        messages = [user("Do bees fly?")]
        first = await server.post(messages=messages, tools=[SEARCH])
        messages += [{"role": "assistant", "content": first["content"]}, user("Sure?")]
        counted = await server.post("/v1/messages/count_tokens", messages=messages, tools=[SEARCH])
        second = await server.post(messages=messages, tools=[SEARCH])
        goes_on(server)
        assert len(server.engine.jobs) == 3
        assert "Bees fly" in server.engine.jobs[1].text
    usage = second["usage"]
    assert counted["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"]
    assert usage["cache_read_input_tokens"] > 0


async def test_a_client_call_beside_a_server_call_ends_the_message() -> None:
    """The server's is run, the client's is left to the client; when its result comes the conversation goes on from all
    of it."""
    both = SEARCHING + "\n" + call("look", path="x")
    async with searching(SearchEngine(BEES), both, "Seen.") as server:
        messages = [user("Look, and search.")]
        first = await server.post(messages=messages, tools=[SEARCH, LOOK])
        assert first["stop_reason"] == "tool_use"
        assert kinds(first) == ["text", "server_tool_use", "tool_use", "web_search_tool_result"]
        id = first["content"][2]["id"]
        messages += [
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "It is there."}]},
        ]
        await server.post(messages=messages, tools=[SEARCH, LOOK])
        goes_on(server)
        assert "Bees fly" in server.engine.jobs[1].text
        assert "It is there." in server.engine.jobs[1].text


async def test_a_search_tool_that_the_conversation_brings() -> None:
    """A `tool_addition` may define a tool of the server's; the model is told of it there, and its calls run here."""
    addition = {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": SEARCH}}
    async with searching(SearchEngine(BEES), SEARCHING, ANSWER, "Yes.") as server:
        messages = [user("Do bees fly?"), {"role": "system", "content": [addition]}]
        first = await server.post(messages=messages, tools=[LOOK])
        assert kinds(first) == ["text", "server_tool_use", "web_search_tool_result", "text"]
        messages += [{"role": "assistant", "content": first["content"]}, user("Sure?")]
        await server.post(messages=messages, tools=[LOOK])
        goes_on(server)


async def test_a_client_call_after_a_search() -> None:
    """The round after a search may call the client."""
    async with searching(SearchEngine(BEES), SEARCHING, "Now. " + call("look", path="x"), "Seen.") as server:
        messages = [user("Search, then look.")]
        first = await server.post(messages=messages, tools=[SEARCH, LOOK])
        assert first["stop_reason"] == "tool_use"
        assert kinds(first)[-2:] == ["text", "tool_use"]
        id = first["content"][-1]["id"]
        result = {"type": "tool_result", "tool_use_id": id, "content": "There."}
        messages += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": [result]}]
        await server.post(messages=messages, tools=[SEARCH, LOOK])
        goes_on(server)


async def test_rounds_are_bounded_and_the_client_goes_on() -> None:
    """After the last round that is allowed the message pauses; sent back as it is, it goes on where it was."""
    async with searching(SearchEngine(BEES), SEARCHING, SEARCHING, ANSWER, rounds=2) as server:
        messages = [user("Search on.")]
        first = await server.post(messages=messages, tools=[SEARCH])
        assert first["stop_reason"] == "pause_turn"
        messages.append({"role": "assistant", "content": first["content"]})
        second = await server.post(messages=messages, tools=[SEARCH])
        assert (second["stop_reason"], kinds(second)) == ("end_turn", ["text"])
        goes_on(server)


async def test_max_uses_and_max_tokens_hold_over_all_rounds() -> None:
    """A search too many fails with its own code, and the model is told; the last round has what is left of the
    tokens."""
    outputs = SEARCHING, SEARCHING, "one two three four five six seven eight"
    async with searching(SearchEngine(BEES), *outputs) as server:
        limit = sum(len(rule.spoken()) for rule in says(*outputs[:2])) + 3
        tools = [{**SEARCH, "max_uses": 1}]
        message = await server.post(messages=[user("Search.")], tools=tools, max_tokens=limit)
        assert "error: max_uses_exceeded" in server.engine.jobs[2].text
    assert message["content"][5]["content"]["error_code"] == "max_uses_exceeded"
    assert message["stop_reason"] == "max_tokens"
    assert message["usage"]["output_tokens"] == limit
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 1


@pytest.mark.parametrize(
    ("status", "query", "code"),
    [(429, "bees", "too_many_requests"), (500, "bees", "unavailable"), (200, "b" * 2000, "query_too_long")],
)
async def test_a_failed_search_is_told_in_its_result(status: int, query: str, code: str) -> None:
    """By the tool's own error code, and the model goes on."""
    engine = SearchEngine(BEES)
    engine.status = status
    async with searching(engine, call("web_search", query=query), "Sorry.") as server:
        message = await server.post(messages=[user("Search.")], tools=[SEARCH])
    assert kinds(message) == ["server_tool_use", "web_search_tool_result", "text"]
    assert message["content"][1]["content"] == {"type": "web_search_tool_result_error", "error_code": code}


async def test_a_call_that_breaks_off_is_told_to_the_model() -> None:
    """A model that ends its turn in the midst of a call of the server's is told so and goes on; the message never ends
    with `tool_use` where nothing is left for the client to do."""
    async with searching(SearchEngine(BEES), SEARCHING[: SEARCHING.index("bees")], SEARCHING, ANSWER) as server:
        message = await server.post(messages=[user("Search.")], tools=[SEARCH])
        goes_on(server)
    assert message["stop_reason"] == "end_turn"
    results = [block["content"] for block in message["content"] if block["type"] == "web_search_tool_result"]
    assert results[0] == {"type": "web_search_tool_result_error", "error_code": "invalid_tool_input"}
    assert results[1][0]["title"] == "On bees"


async def test_a_search_engine_that_hangs_costs_its_limit_and_no_slot() -> None:
    """The result is an error, the message goes on, and while the tool runs nothing holds the engine."""
    engine = SearchEngine()
    engine.free.clear()
    async with searching(engine, SEARCHING, "Sorry.", seconds=0.5) as server:
        asking = asyncio.ensure_future(server.post(messages=[user("Search.")], tools=[SEARCH]))
        await engine.begun.wait()
        assert server.engine.running == 0
        message = await asking
    assert message["content"][2]["content"]["error_code"] == "unavailable"
    assert message["content"][3]["text"] == "Sorry."


async def test_a_client_that_leaves_ends_the_search() -> None:
    """A disconnect reaches the tool that runs."""
    engine = SearchEngine()
    engine.free.clear()
    async with searching(engine, SEARCHING, "Sorry.") as server:
        asking = asyncio.ensure_future(server.stream(messages=[user("Search.")], tools=[SEARCH]))
        await engine.begun.wait()
        asking.cancel()
        await engine.left.wait()
        assert server.engine.running == 0


async def test_a_forced_search_is_forced_once() -> None:
    """`tool_choice` holds for the first round; afterwards the model may answer."""
    async with searching(SearchEngine(BEES), SEARCHING, ANSWER) as server:
        choice = {"type": "tool", "name": "web_search"}
        message = await server.post(messages=[user("Search.")], tools=[SEARCH], tool_choice=choice)
    assert message["stop_reason"] == "end_turn"


async def test_only_allowed_domains_are_told() -> None:
    """Of what the search engine found; what is no address is none of these, and costs the others nothing."""
    elsewhere = ("https://notbees.example/x", "ftp://bees.example/", "http://[bees")
    engine = SearchEngine(BEES, *(found("Elsewhere", url) for url in elsewhere))
    async with searching(engine, SEARCHING, ANSWER) as server:
        tools = [{**SEARCH, "allowed_domains": ["bees.example"]}]
        message = await server.post(messages=[user("Search.")], tools=tools)
        status, refused = await server.answer(
            messages=[user("x")], tools=[{**tools[0], "blocked_domains": ["a.example"]}]
        )
    assert [page["title"] for page in message["content"][2]["content"]] == ["On bees"]
    assert engine.asked == ["bees (site:bees.example)"]
    assert (status, "only one of" in refused["error"]["message"]) == (400, True)
