"""Citations from end to end: the SDK's request, a model that cites, the reply that the SDK adds up, the next turn."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import msgspec
import pytest

from antiphon import surfaces
from antiphon.engines.scripted import Rule, Scripted
from antiphon.serving.service import Service
from tests.laws.growing import tokens
from tests.loopback import listening
from tests.serving.served import served
from tests.surfaces import order

TEXT = "Grass is green. Dr. Sky is blue.\n\nSnow is white. "
ON = {"enabled": True}


def document(source: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, "citations": ON, **fields}


PLAIN = document({"type": "text", "media_type": "text/plain", "data": TEXT}, title="Colours")
BLOCKS = document(
    {"type": "content", "content": [{"type": "text", "text": t} for t in ("First block.", "Second. Block.")]}
)
FOUND = {
    "type": "search_result",
    "source": "https://example.org/a",
    "title": "A",
    "content": [{"type": "text", "text": "Water is wet."}, {"type": "text", "text": "Fire is hot."}],
    "citations": ON,
}


def pdf(*pages: str) -> dict[str, Any]:
    """A document of one line a page."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for number, page in enumerate(pages):
        drawn = f"BT /F1 12 Tf 72 700 Td ({page}) Tj ET"
        objects.append(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {5 + 2 * number} 0 R>>"
        )
        objects.append(f"<</Length {len(drawn)}>>stream\n{drawn}\nendstream")
    body, places = "%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj{each}endobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    size = len(objects) + 1
    body += (
        f"xref\n0 {size}\n0000000000 65535 f \n{table}trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
    )
    return document(
        {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(body.encode()).decode()}
    )


class Talk:
    """A client over the official SDK. The model's words name passages by their numbers in the order of the sources,
    `<cite 0.1>` for the first passage of the first."""

    def __init__(self, client: anthropic.AsyncAnthropic, url: str, service: Service, engine: Scripted) -> None:
        self.client, self.url, self.service, self.engine = client, url, service, engine
        self.messages: list[Any] = []

    async def say(self, content: Any, words: str) -> anthropic.types.Message:
        self.messages.append({"role": "user", "content": content})
        counted = await self.client.messages.count_tokens(model="claude-test", messages=self.messages)
        await self._script(words)
        async with self.client.messages.stream(model="claude-test", max_tokens=500, messages=self.messages) as stream:
            reply = await stream.get_final_message()
        usage = reply.usage
        total = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        assert counted.input_tokens == total
        self.messages.append({"role": "assistant", "content": [block.model_dump() for block in reply.content]})
        return reply

    async def whole(self) -> anthropic.types.Message:
        """The last reply again, not streamed."""
        return await self.client.messages.create(model="claude-test", max_tokens=500, messages=self.messages[:-1])

    async def labels(self) -> list[str]:
        """The ids of the sources in the prompt of the next request, in their order."""
        body = {"model": "claude-test", "max_tokens": 9, "messages": self.messages}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{self.url}/v1/messages/render", json=body, headers={"anthropic-version": "2023-06-01"}
            ) as response,
        ):
            shown = json.dumps(await response.json())
        return list(dict.fromkeys(re.findall(r"<id>([a-z]+)</id>", shown)))

    async def _script(self, words: str) -> None:
        labels = await self.labels()
        raw = re.sub(r"(?<=[ ,])(\d)(?=\.\d)", lambda found: labels[int(found[1])], words)
        rule = Rule(pieces=tokens(raw, self.engine.script.control_tokens))
        self.engine.script = msgspec.structs.replace(self.engine.script, rules=(rule,))


@asynccontextmanager
async def talking() -> AsyncIterator[Talk]:
    service, engine = await served()
    options = surfaces.Options(seal_key=b"a key for tests")
    async with (
        listening(surfaces.build(service, options)) as url,
        anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as client,
    ):
        yield Talk(client, url, service, engine)


def user(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [*blocks, {"type": "text", "text": "What does it say?"}]


def told(reply: anthropic.types.Message) -> list[Any]:
    """Each block's text and citations, without what is null."""
    return [
        (block.text, [each.model_dump(exclude_none=True) for each in block.citations or ()])
        for block in reply.content
        if block.type == "text"
    ]


async def test_each_kind_of_location() -> None:
    """A passage of each kind of source is cited by its own kind of location, with the source's own words, streamed and
    whole."""
    async with talking() as talk:
        content = user(PLAIN, pdf("Page one.", "Page two. More."), BLOCKS, FOUND)
        words = "So <cite 0.2-3>a</cite>, <cite 1.2>b</cite>, <cite 2.1-2>c</cite> and <cite 3.2>d</cite>."
        reply = await talk.say(content, words)
        assert told(await talk.whole()) == told(reply)
    char, page, block, found = (cited[0] for _, cited in told(reply) if cited)
    assert [text for text, _ in told(reply)] == ["So ", "a", ", ", "b", ", ", "c", " and ", "d", "."]
    assert char == {
        "type": "char_location",
        "cited_text": "Dr. Sky is blue.\n\nSnow is white.",
        "document_index": 0,
        "document_title": "Colours",
        "start_char_index": 16,
        "end_char_index": 48,
    }
    assert TEXT[16:48] == char["cited_text"]
    assert (page["type"], page["cited_text"]) == ("page_location", "Page two.")
    assert (page["document_index"], page["start_page_number"], page["end_page_number"]) == (1, 2, 3)
    assert (block["type"], block["cited_text"]) == ("content_block_location", "First block.Second. Block.")
    assert (block["document_index"], block["start_block_index"], block["end_block_index"]) == (2, 0, 2)
    assert found == {
        "type": "search_result_location",
        "cited_text": "Fire is hot.",
        "source": "https://example.org/a",
        "title": "A",
        "search_result_index": 0,
        "start_block_index": 1,
        "end_block_index": 2,
    }


async def test_a_cited_stream_is_legal() -> None:
    """A cited block begins with no citations, which come before the text that they support; any other has none."""
    async with talking() as talk:
        await talk.say(user(PLAIN), "So <cite 0.1,0.3>it says</cite>.")
        body = {"model": "claude-test", "max_tokens": 500, "stream": True, "messages": talk.messages[:1]}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{talk.url}/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"}) as response,
        ):
            events = order.frames(await response.read())
    order.check(events)
    opened = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    plain = {"type": "text", "text": ""}
    assert opened == [plain, {**plain, "citations": []}, plain]
    cited = [
        event["delta"]["type"] for event in events if event["type"] == "content_block_delta" and event["index"] == 1
    ]
    assert cited[:3] == ["citations_delta", "citations_delta", "text_delta"]
    assert set(cited[3:]) <= {"text_delta"}


@pytest.mark.parametrize("words", ["So <cite 0.1>it  is</cite>\n\n<cite 0.2>and</cite> so", "<cite 0.3,0.1>x", "no"])
async def test_a_cited_conversation_goes_on_from_its_own_tokens(words: str) -> None:
    """The prompt of a turn begins with that of the turn before and with what was sampled for it, also where sources
    come in later turns and in the results of tools."""
    async with talking() as talk:
        for more in ((PLAIN,), (), (FOUND, pdf("Same words. Same words.")), (BLOCKS,)):
            await talk.say(user(*more), words)
            await talk.say(user(), "All <cite 0.1>that</cite>.")
        jobs, sampled = talk.engine.jobs, talk.engine.sampled
    for (job, said), later in zip(zip(jobs, sampled, strict=True), jobs[1:], strict=False):
        known = [*job.prompt, *said]
        assert list(later.prompt[: len(known)]) == known


async def test_history_from_elsewhere_is_written_as_this_server_writes_it() -> None:
    """Where nothing is remembered, cited blocks of the history are rendered as tags of what they cite."""
    async with talking() as talk:
        await talk.say(user(PLAIN, FOUND), "So <cite 0.2-3>it is</cite>, <cite 1.1>wet</cite>.")
        async with talking() as other:
            other.messages = [*talk.messages]
            await other.say(user(), "Yes.")
            first, second = await other.labels()
            prompt = other.engine.jobs[-1].text
    assert f"So <cite {first}.2-3>it is</cite>, <cite {second}.1>wet</cite>." in prompt


async def test_what_cannot_be_asked_for() -> None:
    """Citations for some sources only, or of a reply that must be JSON, are refused with the place."""
    bare = {key: value for key, value in PLAIN.items() if key != "citations"}
    schema = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    async with talking() as talk:
        for content, fields, place in (
            (user(PLAIN, bare), {}, "messages.0.content.1.document.citations"),
            (
                user(FOUND, {**FOUND, "citations": {"enabled": False}}),
                {},
                "messages.0.content.1.search_result.citations",
            ),
            (user(PLAIN), {"output_config": schema}, "output_config.format"),
        ):
            with pytest.raises(anthropic.BadRequestError) as refused:
                await talk.client.messages.create(
                    model="claude-test", max_tokens=9, messages=[{"role": "user", "content": content}], **fields
                )
            assert refused.value.body["error"]["message"].startswith(place)
