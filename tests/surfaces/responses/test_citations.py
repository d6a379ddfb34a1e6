"""Pages that web search found, cited in responses."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests.server_tools.serving import call, user
from tests.server_tools.test_rounds import searching
from tests.server_tools.web.sites import SearchEngine, found

BEES = found("On bees", "https://a.example/bees", "Bees fly from flower to flower. They live for six weeks. Über all!")
SEARCHED = call("web_search", query="bees")
TOOLS: list[Any] = [{"type": "web_search"}]
PATH = "/v1/responses"


async def label() -> str:
    """The id that the page has, in every conversation."""
    async with searching(SearchEngine(BEES), SEARCHED, "So.") as server:
        await server.post(PATH, input="Bees?", tools=TOOLS)
        return re.findall(r"<id>([a-z]+)</id>", server.engine.jobs[-1].text)[-1]


async def test_pages_that_were_found_are_annotations() -> None:
    """In the form that the SDK has for them, streamed and whole; the next turn goes on from the tokens of this one, and
    a server that remembers nothing renders the same."""
    page = await label()
    words = f"I know: <cite {page}.1,{page}.3>they fly</cite>, <cite none.1>it seems</cite>. <cite {page}.2>Für kurz."
    async with searching(SearchEngine(BEES), *[SEARCHED, words] * 2, "Yes.") as server:
        async with (
            AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client,
            client.responses.stream(model="claude-test", input="Bees?", tools=TOOLS) as stream,
        ):
            events = [event async for event in stream if event.type == "response.output_text.annotation.added"]
            response = await stream.get_final_response()
        whole = await server.post(PATH, input="Bees?", tools=TOOLS)
        (part,) = response.to_dict()["output"][-1]["content"]  # type: ignore[index]
        assert part.pop("parsed") is None
        assert whole["output"][-1]["content"] == [part]
        assert part["text"] == "I know: they fly, it seems. Für kurz."
        assert [event.annotation_index for event in events] == [0, 1]
        assert [event.to_dict()["annotation"] for event in events] == part["annotations"]
        assert [part["text"][each["start_index"] : each["end_index"]] for each in part["annotations"]] == [
            "they fly",
            "Für kurz.",
        ]
        for each in part["annotations"]:
            assert (each["type"], each["title"], each["url"]) == ("url_citation", "On bees", "https://a.example/bees")
        history = [user("Bees?"), *whole["output"], user("Sure?")]
        await server.post(PATH, input=history, tools=TOOLS)
        known = [*server.engine.jobs[1].prompt, *server.engine.sampled[1]]
        assert list(server.engine.jobs[-1].prompt[: len(known)]) == known
    async with searching(SearchEngine(BEES), "Yes.") as server:
        await server.post(PATH, input=history, tools=TOOLS)
        assert f"<cite {page}.1,{page}.3>they fly</cite>, it seems. <cite {page}.2>Für" in server.engine.jobs[-1].text


@pytest.mark.parametrize("chosen", ["web_search", "web_search_preview", "web_search_preview_2025_03_11"])
async def test_a_search_is_chosen(chosen: str) -> None:
    """By the type of its tool, whichever version was declared."""
    async with searching(SearchEngine(BEES), SEARCHED, "So.") as server:
        tools = [{"type": "web_search_preview"}]
        response = await server.post(PATH, input="Bees?", tools=tools, tool_choice={"type": chosen})
        assert response["output"][0]["type"] == "web_search_call"


async def test_a_reply_of_one_value_cites_nothing() -> None:
    """Nothing is numbered for it."""
    text: Any = {"format": {"type": "json_object"}}
    async with searching(SearchEngine(BEES), SEARCHED, "{}") as server:
        await server.post(PATH, input="Bees?", tools=TOOLS, text=text)
        assert "Bees fly" in server.engine.jobs[1].text
        assert "<id>" not in server.engine.jobs[1].text
