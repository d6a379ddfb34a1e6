"""What server tools find can be cited: pages of web search always, fetched ones where the request wants it."""

from __future__ import annotations

import re
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic

from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.web.fetch import WebFetch
from antiphon.server_tools.web.outward import Outward
from antiphon.server_tools.web.pages import Reading
from tests.server_tools.serving import FETCH, SEARCH, Fields, Running, call, folded, running, says, user
from tests.server_tools.test_rounds import searching
from tests.server_tools.web.sites import SITE, SearchEngine, found, listening

BEES = found("On bees", "https://a.example/bees", "Bees fly from flower to flower. They live for six weeks. Über all!")
SEARCHED = call("web_search", query="bees")


def label(server: Running) -> str:
    """The id of the last source in the last prompt."""
    return re.findall(r"<id>([a-z]+)</id>", server.engine.jobs[-1].text)[-1]


def told(message: Fields) -> list[tuple[str, list[Fields]]]:
    """Each text with its citations."""
    return [(each["text"], each.get("citations") or []) for each in message["content"] if each["type"] == "text"]


async def bees_label() -> str:
    """The id that the page on bees has, in every conversation."""
    async with searching(SearchEngine(BEES), SEARCHED, "So.") as server:
        await server.post(messages=[user("Bees?")], tools=[SEARCH])
        return label(server)


async def test_pages_that_were_found_are_cited() -> None:
    """In the form that the SDK has for them, streamed and whole; the next turn goes on from the tokens of this one, and
    a server that remembers nothing renders the same."""
    words = f"I know: <cite {await bees_label()}.1-2>they fly</cite>, <cite none.1>it seems</cite>."
    async with searching(SearchEngine(BEES), *[SEARCHED, words] * 2, "Yes.") as server:
        messages = [user("Bees?")]
        async with (
            AsyncAnthropic(base_url=server.url, api_key="any", max_retries=0) as client,
            client.messages.stream(model="claude-test", max_tokens=500, messages=messages, tools=[SEARCH]) as stream,
        ):
            events = [event async for event in stream if event.type == "citation"]
            message = (await stream.get_final_message()).model_dump(mode="json", exclude_unset=True)
        whole = await server.post(messages=messages, tools=[SEARCH])
        assert told(whole) == told(message)
        assert [text for text, _ in told(message)] == ["I know: ", "they fly", ", it seems."]
        assert [event.citation.type for event in events] == ["web_search_result_location"]
        (cited,) = told(message)[1][1]
        index = cited.pop("encrypted_index")
        assert cited == {
            "type": "web_search_result_location",
            "cited_text": "Bees fly from flower to flower. They live for six weeks.",
            "title": "On bees",
            "url": "https://a.example/bees",
        }
        cited["encrypted_index"] = index
        messages += [{"role": "assistant", "content": message["content"]}, user("Sure?")]
        await server.post(messages=messages, tools=[SEARCH])
        known = [*server.engine.jobs[1].prompt, *server.engine.sampled[1]]
        assert list(server.engine.jobs[-1].prompt[: len(known)]) == known
        remembered = server.engine.jobs[-1].text
    async with searching(SearchEngine(BEES), "Yes.") as server:
        await server.post(messages=messages, tools=[SEARCH])
        anew = server.engine.jobs[-1].text
    # What was sampled also has a tag that names nothing.
    assert anew == re.sub("<cite none.1>(.*?)</cite>", r"\1", remembered)


@pytest.mark.parametrize("index", ["", "?", "ennnbS4w", "YS4x", "YmFiYS4x"])
async def test_an_index_that_names_nothing(index: str) -> None:
    """Is dropped, and the text stays."""
    cited = {"type": "web_search_result_location", "cited_text": "x", "url": "u", "title": "t"}
    said = {"type": "text", "text": "They fly.", "citations": [{**cited, "encrypted_index": index}]}
    async with running(ServerTools(), says("Yes.")) as server:
        await server.post(messages=[user("Bees?"), {"role": "assistant", "content": [said]}, user("Sure?")])
        assert "They fly." in server.engine.jobs[0].text
        assert "<cite" not in server.engine.jobs[0].text


async def test_fetched_pages_and_documents() -> None:
    """Are cited where the declaration says so, by characters and pages, and counted with the documents of the
    conversation."""
    given = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Grass is green."}}
    enabled = {**FETCH, "citations": {"enabled": True}}
    async with listening(*SITE) as url:
        content: Any = [{**given, "citations": {"enabled": True}}, {"type": "text", "text": url + "/plain.txt"}]
        fetches = [call("web_fetch", url=url + path) for path in ("/plain.txt", "/bees.pdf")]
        content[1]["text"] += f" {url}/bees.pdf"
        asked: Fields = {"messages": [user(content)], "tools": [enabled]}
        tools = [ServerTools([WebFetch(Outward(allow_private=True), Reading())]) for _ in range(3)]
        async with running(tools[0], says("\n".join(fetches), "So.")) as server:
            await server.post(**asked)
            text, pdf = re.findall(r"<id>([a-z]+)</id>", server.engine.jobs[-1].text)[1:]
        words = f"<cite {text}.1>Größe</cite> <cite {pdf}.1>flies</cite>"
        async with running(tools[1], says("\n".join(fetches), words)) as server:
            message = folded(await server.stream(**asked))
            anthropic.types.Message.model_validate(message)
            places = [each for _, (each,) in told(message)]
        async with running(tools[2], says("\n".join(fetches), "So.")) as server:
            await server.post(messages=asked["messages"], tools=[FETCH])
            assert len(re.findall("<id>", server.engine.jobs[-1].text)) == 1
    assert [(each["type"], each["document_index"], each["cited_text"]) for each in places] == [
        ("char_location", 1, "Größe zählt."),
        ("page_location", 2, "Bees fly."),
    ]
    assert (places[0]["start_char_index"], places[1]["start_page_number"]) == (0, 1)


async def test_a_reply_of_one_value_cites_nothing() -> None:
    """Nothing is numbered for it."""
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    async with searching(SearchEngine(BEES), SEARCHED, "{}") as server:
        await server.post(messages=[user("Bees?")], tools=[SEARCH], output_config={"format": schema})
        assert "Bees fly" in server.engine.jobs[1].text
        assert "<id>" not in server.engine.jobs[1].text
