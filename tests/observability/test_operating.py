"""What an operator sees and sets, over a real socket and the scripted engine: metrics, the line in the log, the queue,
limits, readiness, the end."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.accounts.keys import Allowance
from antiphon.api.errors import Overloaded
from antiphon.engines import Health, Job, Piece
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.observability import metrics
from antiphon.observability.request_log import JsonLines
from antiphon.observability.request_watch import Watch
from antiphon.serving.model import Choices
from antiphon.serving.rate_limits import RateLimiter
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from antiphon.settings.keys import hashed, label
from tests.faults.processes import eventually
from tests.surfaces import order
from tests.surfaces.conftest import serving

KEY = "sk-secret"
SLOW = Rule(when="slow", text="word " * 10, delay=0.05, repeat=100)


async def at_work(engine: Scripted, many: int) -> None:
    """Wait until so many requests are at work."""
    await eventually(lambda: engine.running == many)


async def in_line(service: Service, many: int) -> None:
    """Wait until so many requests wait for the engine of the model `m`."""
    await eventually(lambda: service._queues["m"].waiting == many)


async def over(*rules: Rule, name: str = "m", slots: int = 1000, **options: Any) -> tuple[Service, Scripted]:
    engine = Scripted(Script(rules=(*rules, Rule(text="Hello from the script.")), slots=slots))
    return Service([await load(engine, Choices(name=name))], **options), engine


def saying(server: Any, text: str, **fields: Any) -> dict[str, Any]:
    return server.ask(messages=[{"role": "user", "content": text}], **fields)


def samples(text: bytes, model: str) -> dict[str, float]:
    """The samples of one model, by name and distinguishing labels."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.labels.get("model") == model:
                more = [
                    sample.labels[k] for k in ("surface", "status", "kind", "prefix", "reason") if k in sample.labels
                ]
                key = " ".join([sample.name.removeprefix("antiphon_"), *more])
                if "le" not in sample.labels or sample.labels["le"] == "+Inf":
                    found[key] = sample.value
    return found


async def test_metrics_count_what_the_replies_say() -> None:
    """Tokens, times, outcomes and gauges; behind the key; the key itself never, nor any word of a client."""
    service, _ = await over(name="metered")
    options = {"accounts": Accounts(keys=Keyring((hashed(KEY),))), "metrics": metrics.exposition}
    async with serving(service, **options) as server:
        for _ in range(2):
            assert (await server.post(saying(server, "hi", model="claude-x"), x_api_key=KEY))[0] == 200
        _, _, raw = await server.stream(
            saying(server, "hi", model="default"), **{"x-api-key": KEY, "anthropic-version": "x"}
        )
        usage = order.frames(raw)[-2]["usage"]
        await server.post(saying(server, "hi", model="missing-model"), x_api_key=KEY)
        async with server.client.get(server.url + "/metrics") as response:
            assert response.status == 401
        async with server.client.get(server.url + "/metrics", headers={"x-api-key": KEY}) as response:
            text = await response.read()
    found = samples(text, "metered")
    assert found["requests_total messages 200"] == 3
    assert found["replies_total end_turn"] == 3
    assert found["output_tokens_total"] == 3 * usage["output_tokens"]
    whole = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    assert found["input_tokens_total cached"] + found["input_tokens_total new"] == 3 * whole
    assert found["first_token_seconds_count"] == found["queue_seconds_count"] == found["tokenise_seconds_count"] == 3
    assert found["inter_token_seconds_count"] == found["inter_token_seconds_bucket"] > 3
    assert found["running"] == 0
    assert KEY.encode() not in text
    assert b"claude-x" not in text
    assert b"missing-model" not in text
    mine = label(hashed(KEY))
    told = [s for f in text_string_to_metric_families(text.decode()) for s in f.samples if "key" in s.labels]
    assert {s.labels["key"] for s in told if s.labels["model"] == "metered"} == {mine}
    each = {s.name for s in told if s.labels["model"] == "metered"}
    assert {f"antiphon_{name}_seconds_count" for name in ("queue", "tokenise", "first_token", "inter_token")} <= each


async def test_the_line_in_the_log_and_the_timing_header(caplog: pytest.LogCaptureFixture) -> None:
    """What a request used and how long it took, with its id; no word of the conversation."""
    service, _ = await over()
    with caplog.at_level(logging.INFO, "antiphon.http"):
        async with serving(service) as server:
            _, headers, _ = await server.post(saying(server, "a private question"))
    line = next(r.getMessage() for r in caplog.records if headers["request-id"] in r.getMessage())
    assert re.search(r"200 \d+\.\d{3}s .*in=\d+ cached=\d+ out=4 stop=end_turn ttft=\d+\.\d{3}s", line)
    assert "private" not in line
    assert "Hello" not in line
    timed = dict(re.findall(r"(\w+);dur=([\d.]+)", headers["server-timing"]))
    assert {"tokenise", "queue", "first", "total"} == set(timed)
    assert float(timed["first"]) <= float(timed["total"])


async def test_a_stream_that_waits_has_its_head_and_pings_then_its_turn() -> None:
    """Requests beyond the slots wait with an open stream; beyond the line they are told to come back."""
    service, engine = await over(SLOW, slots=1, most_waiting=1)
    async with serving(service) as server:
        first = asyncio.ensure_future(server.stream(saying(server, "slow")))
        await at_work(engine, 1)
        body, headers = {**saying(server, "hi"), "stream": True}, {"anthropic-version": "x"}
        async with server.client.post(server.url + "/v1/messages", json=body, headers=headers) as waiting:
            assert waiting.status == 200
            assert "tokenise;dur=" in waiting.headers["server-timing"]
            seen = b""
            while seen.count(b"event: ping") < 2:
                seen += await waiting.content.readany()
            assert engine.running == 1
            assert len(engine.jobs) == 1
            for ask in (server.stream, server.post):
                status, refused, _ = await ask(saying(server, "hi"))
                assert status == 529
                assert int(refused["retry-after"]) >= 1
            first.cancel()
            rest = seen + await waiting.content.read()
    order.check(order.frames(rest))
    assert b"Hello" in rest


async def test_a_burst_is_queued_not_rejected() -> None:
    """Twenty at once on four slots: all complete, never more than four at work."""
    service, engine = await over(Rule(when="hi", text="a b c", delay=0.01), slots=4)
    most = 0
    async with serving(service) as server:
        asked = [asyncio.ensure_future(server.stream(saying(server, "hi"))) for _ in range(20)]
        while not all(one.done() for one in asked):
            most = max(most, engine.running)
            await asyncio.sleep(0.001)
    assert all(one.result()[0] == 200 and b"message_stop" in one.result()[2] for one in asked)
    assert most == 4


async def test_requests_and_clients_that_leave_leave_no_task() -> None:
    """After requests that were answered, and clients that left in line, before the first token and in the middle, the
    worker has the tasks that it had; nothing runs and nothing waits."""
    rng = random.Random(3)
    service, engine = await over(SLOW, Rule(when="hang", text="never", first_delay=60), slots=8)
    async with serving(service) as server:
        assert (await server.post(saying(server, "hi", model="default")))[0] == 200
        before = len(asyncio.all_tasks())
        for _ in range(4):
            asks = [rng.choice((server.post, server.stream)) for _ in range(60)]
            texts = [rng.choice(("slow", "hang", "hi")) for _ in asks]
            asked = [
                asyncio.ensure_future(ask(saying(server, text, model="default"), **{"anthropic-version": "x"}))
                for ask, text in zip(asks, texts, strict=True)
            ]
            await at_work(engine, 8)
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            await at_work(engine, 0)
        for _ in range(100):
            if len(asyncio.all_tasks()) <= before:
                break
            await asyncio.sleep(0.02)
        assert len(asyncio.all_tasks()) <= before


async def test_limits_are_told_and_kept() -> None:
    """Each answer has the headers; what is too much gets 429 in the envelope, with the time to wait."""
    keys = Keyring((hashed(KEY), hashed("other")))
    rate_limiter = RateLimiter(Allowance(requests=2, output_tokens=1000), keys)
    service, _ = await over(rate_limiter=rate_limiter)
    async with serving(service, rate_limiter=rate_limiter, accounts=Accounts(keys=keys)) as server:
        for rest in ("1", "0"):
            status, headers, _ = await server.post(saying(server, "hi"), x_api_key=KEY)
            assert (status, headers["anthropic-ratelimit-requests-remaining"]) == (200, rest)
        status, headers, body = await server.post(saying(server, "hi"), x_api_key=KEY)
        assert (status, body["error"]["type"]) == (429, "rate_limit_error")
        assert 1 <= int(headers["retry-after"]) <= 30
        assert headers["x-should-retry"] == "true"
        assert headers["anthropic-ratelimit-requests-limit"] == "2"
        status, headers, _ = await server.stream(saying(server, "hi"), **{"x-api-key": "other"})
        assert (status, headers["anthropic-ratelimit-requests-remaining"]) == (200, "1")
    rate_limiter.close()


async def test_readiness_is_about_generation() -> None:
    """An engine that answers but says nothing at work is not ready; nor is one that does not answer or keeps dying."""
    service, engine = await over(Rule(when="hang", text="never", first_delay=600), stall=3)
    crashes = ""
    async with serving(service, crashes=lambda: crashes) as server:

        async def ready() -> tuple[int, str]:
            async with server.client.get(server.url + "/health/ready") as response:
                return response.status, await response.text()

        assert (await ready())[0] == 200
        hanging = asyncio.ensure_future(server.stream(saying(server, "hang")))
        await at_work(engine, 1)
        assert (await ready())[0] == 200
        while (told := await ready())[0] == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        assert told[0] == 529
        assert "nothing came" in told[1]
        async with server.client.get(server.url + "/health") as response:
            assert response.status == 200
        hanging.cancel()
        await at_work(engine, 0)
        assert (await ready())[0] == 200
        crashes = "the engine keeps dying"
        assert crashes in (await ready())[1]
        crashes = ""

        async def unwell() -> Health:
            return Health(False, "no answer")

        engine.health = unwell  # type: ignore[method-assign]
        assert "no answer" in (await ready())[1]


@pytest.mark.parametrize("text", ["slow", "hang"])
async def test_leaving_ends_streams_honestly(text: str) -> None:
    """When the grace period is over, a stream that runs ends in one error event, a reply in the making in its status;
    both in the words of the original, and the engine is free."""
    service, engine = await over(SLOW, Rule(when="hang", text="never", first_delay=60))
    leaving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with serving(service, leaving=leaving) as server:
        streamed = asyncio.ensure_future(server.stream(saying(server, text)))
        whole = asyncio.ensure_future(server.post(saying(server, text)))
        await at_work(engine, 2)
        await asyncio.sleep(0.3)
        leaving.set_result(None)
        status, _, raw = await streamed
        found = order.frames(raw)
        order.check(found)
        assert status == 200
        assert found[-1]["error"] == {"type": "overloaded_error", "message": "the server is shutting down"}
        status, _, body = await whole
        assert (status, body["error"]["type"]) == (529, "overloaded_error")
        assert engine.running == 0


async def test_watching_a_token_is_cheap() -> None:
    """Beside one event's encoding, watching it costs little: less than a tenth of writing and reading a small JSON."""
    import timeit

    import msgspec

    from antiphon.api.events import TextDelta

    watch, batch = Watch(), [TextDelta(" word")]
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " word"}}

    def yardstick() -> None:
        for _ in range(10):
            msgspec.json.decode(msgspec.json.encode(event))

    watching = min(timeit.repeat(lambda: watch.batch(batch), number=2000, repeat=7))
    assert watching < min(timeit.repeat(yardstick, number=2000, repeat=7))


async def test_the_line_in_the_log_for_programs(caplog: pytest.LogCaptureFixture) -> None:
    """With `--log-format json` the same facts are one object, and the cause of a failure is one of them."""
    with caplog.at_level(logging.INFO, "antiphon.http"):
        async with serving((await over())[0]) as server:
            _, headers, _ = await server.post(saying(server, "a private question"))
            _, refused, _ = await server.post(server.ask(messages=[]))
    told = {line["id"]: line for line in (json.loads(JsonLines().format(r)) for r in caplog.records) if "id" in line}
    line, problem = told[headers["request-id"]], told[refused["request-id"]]
    assert (line["method"], line["path"], line["status"], line["stream"]) == ("POST", "/v1/messages", 200, False)
    assert line["seconds"] >= 0
    assert line["level"] == "info"
    assert (problem["status"], problem["problem"]) == (400, "messages: at least one message is required")


async def test_requests_at_the_same_time_are_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    """Each line of the log has the figures of its own request, however many are read and answered at once."""
    service, _ = await over(Rule(when="x", text="a b c d", delay=0.01, first_delay=0.02))
    with caplog.at_level(logging.INFO, "antiphon.http"):
        async with serving(service) as server:
            asked = [server.stream(saying(server, "x " * many)) for many in range(1, 30)]
            answers = await asyncio.gather(*asked)
    lines = [record.getMessage() for record in caplog.records]
    for _, headers, raw in answers:
        usage = order.frames(raw)[-2]["usage"]
        whole = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
        line = next(line for line in lines if headers["request-id"] in line)
        assert f" in={whole} cached={usage['cache_read_input_tokens']} out=4 " in line


async def test_an_engine_that_is_gone_is_told_to_all_who_wait() -> None:
    """The time that one request waits for an engine is not waited again by each behind it; streams that wait already
    end in one error event, others get 529."""
    service, engine = await over(slots=1)
    asked = 0

    async def gone(job: Job) -> AsyncGenerator[list[Piece], None]:
        nonlocal asked
        asked += 1
        await in_line(service, 3)
        await asyncio.sleep(1)  # until all streams have begun
        raise Overloaded("the engine does not answer", retry_after=5)
        yield []

    engine.generate = gone  # type: ignore[assignment, method-assign]
    async with serving(service) as server:
        requests = [server.stream(saying(server, "hi")) for _ in range(3)] + [server.post(saying(server, "hi"))]
        answers = await asyncio.gather(*requests)
    assert asked == 1
    for _, _, raw in answers[:3]:
        assert order.frames(raw)[-1]["error"]["type"] == "overloaded_error"
        assert raw.count(b"event: error") == 1
    status, headers, _ = answers[3]
    assert (status, headers["retry-after"]) == (529, "5")
