"""How far a long prompt is read: in pings for those who ask, in the metrics, in the log, and for those who ask whether
the engine is well."""

from __future__ import annotations

import asyncio
import logging

import pytest
from anthropic import AsyncAnthropic
from prometheus_client.parser import text_string_to_metric_families

from antiphon.api.events import PromptProgress, TextDelta
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.observability import metrics
from antiphon.observability.request_watch import Watch
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from tests.surfaces import order
from tests.surfaces.conftest import serving

LONG = Rule(text="Read it all.", first_delay=1.2, steps=12)
VERSION = {"anthropic-version": "2023-06-01"}


async def over(rule: Rule, name: str = "reader", **options: float) -> Service:
    engine = Scripted(Script(rules=(rule,), model=name))
    return Service([await load(engine, Choices())], **options)


def request() -> dict[str, object]:
    return {
        "model": "default",
        "max_tokens": 20,
        "stream": True,
        "messages": [{"role": "user", "content": "word " * 300}],
    }


async def test_who_asks_is_told_how_much_is_read() -> None:
    """The pings' figures grow up to the whole prompt, which is what usage says of it."""
    async with serving(await over(LONG), ping_interval=0.1) as server:
        headers = {**VERSION, "antiphon-progress": "1"}
        _, _, raw = await server.stream(request(), **headers)
    found = order.frames(raw)
    order.check(found)
    told = [frame["progress"] for frame in found if frame["type"] == "ping" and "progress" in frame]
    read = [each["read_tokens"] for each in told]
    assert len(read) > 1
    assert read == sorted(read)
    assert 0 < read[-1] <= told[-1]["prompt_tokens"] == found[-2]["usage"]["input_tokens"]


async def test_others_get_the_pings_of_the_api() -> None:
    """Not a byte more than before."""
    async with serving(await over(LONG), ping_interval=0.1) as server:
        _, _, raw = await server.stream(request(), **VERSION)
    assert raw.count(b"event: ping") > 2
    assert raw.count(b"event: ping") == raw.count(b'event: ping\ndata: {"type": "ping"}\n\n')


async def test_the_official_client_passes_the_figures_over() -> None:
    """With the header or without, its stream has the same events."""
    async with (
        serving(await over(LONG), ping_interval=0.1) as server,
        AsyncAnthropic(base_url=server.url, api_key="any") as client,
    ):
        kinds = []
        for headers in ({}, {"antiphon-progress": "1"}):
            stream = await client.messages.create(**request(), extra_headers=headers)  # type: ignore[call-overload]
            kinds.append([event.type async for event in stream])
    assert kinds[0] == kinds[1]
    assert "content_block_delta" in kinds[0]


async def test_a_long_prompt_is_no_silence() -> None:
    """As long as the engine goes on reading, the server is ready; and the metrics say what is left to read."""
    service = await over(Rule(text="Done.", first_delay=60, steps=1200), "deep", stall=1.0)
    async with serving(service, metrics=metrics.exposition) as server:

        async def unread() -> float:
            async with server.client.get(server.url + "/metrics") as response:
                families = text_string_to_metric_families(await response.text())
                samples = [sample for family in families for sample in family.samples]
            named = [s.value for s in samples if s.name == "antiphon_unread_tokens" and s.labels["model"] == "deep"]
            return sum(named)

        reading = asyncio.ensure_future(server.stream(request(), **VERSION))
        while not await unread():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.5)
        assert [(ready, detail) for _, ready, detail in await service.ready()] == [(True, "scripted")]
        reading.cancel()
        while await unread():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def test_the_log_tells_of_what_takes_long(caplog: pytest.LogCaptureFixture) -> None:
    """After five seconds, ten, twenty, with the request's id; never of a prompt that is read faster."""
    now = 0.0
    watch = Watch("req_1", clock=lambda: now)
    watch.model = "slow"
    with caplog.at_level(logging.INFO, "antiphon.http"):
        for second in range(31):
            now = float(second)
            watch.prompt_read(PromptProgress(prompt=4000, cached=1000, restored=500, read=1000 + 100 * second))
        watch.batch([TextDelta("x")])
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "req_1 reading the prompt: 1,500 of 4,000 tokens after 5.0 s (100 a second, about 25 s more)",
        "req_1 reading the prompt: 2,000 of 4,000 tokens after 10.0 s (100 a second, about 20 s more)",
        "req_1 reading the prompt: 3,000 of 4,000 tokens after 20.0 s (100 a second, about 10 s more)",
    ]
    assert watch.facts()["prefill"] == 30.0
