"""`web_search_options`: the web is searched here, and the pages that the answer cites are its annotations."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI

from antiphon.api.events import AnyEvent, Cited, ServerResult, ServerToolStart, TextDelta, ToolDelta, ToolEnd
from antiphon.server_tools.registry import ServerTools
from tests.server_tools.serving import call, running, says, user
from tests.server_tools.test_rounds import searching
from tests.server_tools.web.sites import SearchEngine, found
from tests.surfaces.chat_completions.test_encode import accumulated, same_form, streamed, style, whole
from tests.surfaces.messages.test_encode import RUN, TEXT, batches
from tests.surfaces.openai.test_annotations import CITED
from tests.surfaces.responses.test_citations import label

BEES = found("On bees", "https://a.example/bees", "Bees fly from flower to flower. They live for six weeks. Über all!")
SEARCHED = call("web_search", query="bees")
PATH = "/v1/chat/completions"
OPTIONS: dict[str, Any] = {"search_context_size": "low"}


def _searched(query: str) -> list[AnyEvent]:
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}
    return [
        ServerToolStart("srvtoolu_1", {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search"}),
        ToolDelta(json.dumps({"query": query})),
        ToolEnd(),
        ServerResult(result),
    ]


SEARCHES = st.lists(
    st.one_of(
        RUN,
        TEXT.map(_searched),
        st.tuples(CITED, TEXT).map(lambda cited: [Cited(cited[0]), TextDelta(f"{cited[1]}."), Cited(())]),
    ),
    max_size=8,
)


@given(batches(SEARCHES))
@settings(max_examples=100, deadline=None)
def test_the_sdk_makes_the_unstreamed_reply_of_every_stream(pieces: list[list[AnyEvent]]) -> None:
    """Also of one with searches and citations, whatever they stand between."""
    assert same_form(accumulated(streamed(pieces, style(usage=True)))) == same_form(whole(pieces, style()))


async def test_the_pages_that_are_cited_are_told() -> None:
    """In the form that the SDK has for them, streamed and whole, for each of several choices; what was said before the
    search is a paragraph, and the search itself is not told."""
    answer = f"I know: <cite {await label()}.1,{await label()}.3>they fly</cite>, all."
    said = ["Let me look.\n" + SEARCHED, answer]
    asked: dict[str, Any] = {"messages": [user("Bees?")], "web_search_options": OPTIONS}
    async with searching(SearchEngine(BEES), *said, *said) as server:
        async with (
            AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client,
            client.chat.completions.stream(model="claude-test", **asked) as stream,
        ):
            async for _ in stream:
                pass
            choice = (await stream.get_final_completion()).to_dict()["choices"][0]  # type: ignore[index]
        completion = await server.post(PATH, **asked)
    (single,) = completion["choices"]
    assert choice["message"]["annotations"] == single["message"]["annotations"]
    assert choice["message"]["content"] == single["message"]["content"] == "Let me look.\n\nI know: they fly, all."
    assert choice["finish_reason"] == single["finish_reason"] == "stop"
    assert single["message"].get("tool_calls") is None
    (noted,) = single["message"]["annotations"]
    cited = noted["url_citation"]
    assert noted["type"] == "url_citation"
    assert (cited["title"], cited["url"]) == ("On bees", "https://a.example/bees")
    assert single["message"]["content"][cited["start_index"] : cited["end_index"]] == "they fly"


async def test_each_choice_searches() -> None:
    """By itself; the usage is that of all rounds."""
    engine = SearchEngine(BEES)
    async with searching(engine, SEARCHED, SEARCHED, "So.", "So.") as server:
        completion = await server.post(PATH, messages=[user("Bees?")], web_search_options={}, n=2)
        assert [choice["message"]["content"] for choice in completion["choices"]] == ["So.", "So."]
        assert engine.asked == ["bees", "bees"]
        jobs = server.engine.jobs
        assert completion["usage"]["prompt_tokens"] == len(jobs[0].prompt) + len(jobs[2].prompt)


async def test_the_user_is_near_a_place() -> None:
    """The model is told of it."""
    place = {"type": "approximate", "approximate": {"city": "Graz", "country": "AT"}}
    async with searching(SearchEngine(BEES), "So.") as server:
        await server.post(PATH, messages=[user("Bees?")], web_search_options={"user_location": place})
        assert "near Graz, AT" in server.engine.jobs[0].text


async def test_a_reply_of_one_value_cites_nothing() -> None:
    """Nothing is numbered for it."""
    format = {"type": "json_object"}
    async with searching(SearchEngine(BEES), SEARCHED, "{}") as server:
        await server.post(PATH, messages=[user("Bees?")], web_search_options={}, response_format=format)
        assert "Bees fly" in server.engine.jobs[1].text
        assert "<id>" not in server.engine.jobs[1].text


REFUSED: Any = (
    ({"logprobs": True}, "logprobs: "),
    ({"return_token_ids": True}, "return_token_ids: "),
    ({"tools": [{"type": "function", "function": {"name": "web_search"}}]}, "web_search_options: "),
    ({"web_search_options": {"user_location": {"approximate": {"city": 3}}}}, "web_search_options.user_location"),
)


@pytest.mark.parametrize(("fields", "said"), REFUSED)
async def test_what_does_not_go_with_a_search_is_said_by_its_name(fields: dict[str, Any], said: str) -> None:
    """A 400 that begins with the field."""
    async with searching(SearchEngine(BEES), "So.") as server:
        status, told = await server.answer(PATH, **{"messages": [user("?")], "web_search_options": {}, **fields})
    assert (status, told["error"]["message"].startswith(said)) == (400, True), told


async def test_a_server_without_web_search_says_so() -> None:
    """The field is named as ignored."""
    asked = {"model": "claude-test", "messages": [user("Bees?")], "web_search_options": {}}
    async with (
        running(ServerTools(), says("So.")) as server,
        AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client,
    ):
        raw = await client.chat.completions.with_raw_response.create(**asked)
        assert raw.headers["antiphon-ignored"] == "web_search_options"
