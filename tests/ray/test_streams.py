"""Two surfaces before two engine actors with the default model: streams, caches and clients that leave."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import aiohttp
import anthropic
import pytest

from tests.faults import processes
from tests.faults.asking import HEADERS, ask, body
from tests.ray.cluster import Cluster, serving
from tests.surfaces import order

SETTINGS = """
parallel = 2
context_length = 2048
workers = 2
grace_period = 5
served_model_name = "local-model"
[ray.surface]
ray_actor_options = {num_cpus = 0.5}
[ray.engine]
num_replicas = 2
health_check_period_s = 1
"""
LONG = "Write a very long story about a lighthouse. Do not stop."


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """The address of an application on the cluster."""
    with serving(cluster, SETTINGS) as address:
        yield address


def client_of(url: str) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0)


async def test_the_official_client_streams(url: str) -> None:
    """Text comes in many deltas, a while before the end; count_tokens gives what the request then takes."""
    loop = asyncio.get_running_loop()
    async with client_of(url) as client:
        asked = {"model": "local-model", "messages": [{"role": "user", "content": LONG}]}
        counted = await client.messages.count_tokens(**asked)
        async with client.messages.stream(max_tokens=60, **asked) as stream:
            times = [loop.time() async for event in stream if event.type == "content_block_delta"]
            message = await stream.get_final_message()
        assert len(times) > 20
        assert times[len(times) // 2] - times[0] > 0.2 * (times[-1] - times[0])
        assert message.stop_reason == "max_tokens"
        assert message.usage.input_tokens + message.usage.cache_read_input_tokens == counted.input_tokens


class Talk:
    """A conversation. `lost` says of each turn but the first how many tokens of the one before it were not found."""

    def __init__(self, client: anthropic.AsyncAnthropic, text: str) -> None:
        self.client = client
        self.messages: list[Any] = [{"role": "user", "content": text}]
        self.lost: list[int] = []
        self._before = 0

    async def turn(self) -> None:
        said = await self.client.messages.create(model="local-model", max_tokens=24, messages=self.messages)
        cached, told = said.usage.cache_read_input_tokens or 0, said.usage.output_tokens
        assert told > 0
        if self._before:
            self.lost.append(max(self._before - cached, 0))
        # The token that ends a turn is none of the conversation's, and the last one sampled was not computed with.
        self._before = said.usage.input_tokens + cached + told - 1
        self.messages += [{"role": "assistant", "content": said.content}, {"role": "user", "content": "Go on."}]


async def test_conversations_stay_with_their_cache(url: str) -> None:
    """Six conversations that take turns: whichever surface has the next turn, what was computed for the one before is
    found again, in a slot of the engine that it belongs to or on disk; but for a little that is faster computed."""
    async with client_of(url) as client:
        talks = [Talk(client, f"Tell me a story about the number {n}. " * 40) for n in range(6)]
        for _ in range(3):
            for talk in talks:
                await talk.turn()
    assert max(lost for talk in talks for lost in talk.lost) < 128


async def test_the_memory_is_killed(cluster: Cluster, url: str) -> None:
    """Conversations go on without, and turns are found again when Ray has brought another."""
    (memory,) = cluster.replicas("Memory")
    async with client_of(url) as client:
        talk = Talk(client, "Tell me a story about a lost key.")
        await talk.turn()
        os.kill(memory, signal.SIGKILL)
        await talk.turn()
        await processes.eventually(lambda: cluster.replicas("Memory") not in ([], [memory]))

        async def found() -> bool:
            await talk.turn()
            return talk.lost[-1] == 0

        await processes.eventually(found)


async def test_what_was_computed_outlives_its_actor(cluster: Cluster, url: str) -> None:
    """Both engine actors are killed between two turns of a conversation; nearly all of its prompt is read from disk."""
    instructions = "".join(f"Rule {number}: whoever asks for {number} is given {number * 7}.\n" for number in range(40))
    store = cluster.folder / "state" / "prefixes"
    before = set(store.iterdir())
    messages: list[Any] = [{"role": "user", "content": "What do I get for 5?"}]
    async with client_of(url) as client:
        first = await client.messages.create(model="claude", max_tokens=8, system=instructions, messages=messages)
        while not {file for file in set(store.iterdir()) - before if len(file.name) == 24}:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        for process in cluster.replicas("Engine"):
            os.kill(process, signal.SIGKILL)
        messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": "And for 6?"}]
        with_patience = client.with_options(max_retries=20)
        then = await with_patience.messages.create(model="claude", max_tokens=8, system=instructions, messages=messages)
    assert then.usage.cache_read_input_tokens is not None
    assert then.usage.cache_read_input_tokens > 0.8 * first.usage.input_tokens


async def test_a_client_that_leaves_frees_the_slot(url: str) -> None:
    """Eight clients leave long replies of one conversation, whose engine has two slots: the next is answered."""
    async with aiohttp.ClientSession() as client:
        for _ in range(4):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(
                    asyncio.gather(*(ask(client, url, LONG, max_tokens=1900) for _ in range(2))), 1.5
                )
        status, raw = await asyncio.wait_for(ask(client, url, LONG, max_tokens=4), 8)
        assert (status, order.check(order.frames(raw))) == (200, "message_stop")


async def test_an_engine_that_hangs(cluster: Cluster, url: str) -> None:
    """Ray replaces an actor whose engine does not answer for a while; another answers what that had not begun."""
    first = cluster.replicas("Engine")[0]
    (engine,) = processes.engines(first)
    os.kill(engine, signal.SIGSTOP)
    async with aiohttp.ClientSession() as client:
        for status, raw in await asyncio.gather(*(ask(client, url, f"Hi {n}", max_tokens=5) for n in range(6))):
            assert (status, order.check(order.frames(raw))) == (200, "message_stop")
    await processes.eventually(lambda: first not in cluster.replicas("Engine"))


async def busiest(actors: list[int]) -> int:
    """The actor whose engine computed most within a second."""
    engines = {actor: processes.engines(actor)[0] for actor in actors}
    before = {actor: processes.processor_time(engine) for actor, engine in engines.items()}
    await asyncio.sleep(1)
    return max(actors, key=lambda actor: processes.processor_time(engines[actor]) - before[actor])


async def test_an_engine_actor_that_is_killed(cluster: Cluster, url: str) -> None:
    """SIGKILL of one of two engine actors in the middle of streams: what it had begun ends in one error event each, all
    others go on to their end, requests that come meanwhile are answered, and Ray brings a new actor."""
    async with aiohttp.ClientSession() as client:
        streams: list[bytes] = [b""] * 6

        async def stream(n: int) -> None:
            sent = body(f"{n}. {LONG}", max_tokens=200)
            async with client.post(url + "/v1/messages", json=sent, headers=HEADERS) as response:
                assert response.status == 200
                async for chunk in response.content.iter_any():
                    streams[n] += chunk

        running = [asyncio.ensure_future(stream(n)) for n in range(len(streams))]
        # Two slots each: at least two of six are at work at any time.
        await processes.eventually(lambda: sum(raw.count(b"content_block_delta") > 6 for raw in streams) >= 2)
        os.kill(await busiest(cluster.replicas("Engine")), signal.SIGKILL)
        after = [asyncio.ensure_future(ask(client, url, f"Hello {n}", max_tokens=5)) for n in range(4)]
        await asyncio.gather(*running)
        ends = [order.check(order.frames(raw)) for raw in streams]
        assert "error" in ends
        for end, raw in zip(ends, streams, strict=True):
            assert end == "message_stop" or b"content_block_delta" in raw
        for status, raw in await asyncio.gather(*after):
            assert (status, order.check(order.frames(raw))) == (200, "message_stop")
        await processes.eventually(lambda: len(cluster.replicas("Engine")) == 2)
