"""Replicas that come and go under load, by Ray's autoscaling, and replicas that are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter

import aiohttp

from tests.faults import processes
from tests.faults.asking import ask
from tests.ray.cluster import Cluster, serving
from tests.surfaces import order

SCRIPT = {
    "slots": 4,
    "rules": [{"when": "long", "text": "word " * 400, "delay": 0.05}, {"text": "word " * 40, "delay": 0.05}],
}
QUICK = "min_replicas = 1, max_replicas = 2, upscale_delay_s = 1, downscale_delay_s = 2, look_back_period_s = 2"
SETTINGS = f"""
model = "scripted+script.json"
parallel = 4
[ray.surface]
ray_actor_options = {{num_cpus = 0.5}}
autoscaling_config = {{{QUICK}, target_ongoing_requests = 4}}
[ray.engine]
autoscaling_config = {{{QUICK}}}
"""
FIXED = """
model = "scripted+script.json"
max_queue = 3
workers = 2
[ray.surface]
ray_actor_options = {num_cpus = 0.5}
"""


def end(raw: bytes) -> str:
    """How a stream ended, which must be legal."""
    return order.check(order.frames(raw))


async def test_one_two_one_under_load(cluster: Cluster) -> None:
    """Twelve clients that ask again and again bring a second surface and a second engine; when eleven have left, these
    go again. No request fails, and no stream is cut."""
    (cluster.folder / "script.json").write_text(json.dumps(SCRIPT))
    told: Counter[tuple[int, str]] = Counter()
    leave = asyncio.Event()

    async def keep_asking(client: aiohttp.ClientSession, url: str, n: int, until: asyncio.Event) -> None:
        turn = 0
        while not until.is_set():
            status, raw = await ask(client, url, f"{n}.{turn}")
            told[status, end(raw)] += 1
            turn += 1

    def many() -> tuple[int, int]:
        return len(cluster.replicas("Surface")), len(cluster.replicas("Engine"))

    with serving(cluster, SETTINGS) as url:
        async with aiohttp.ClientSession() as client:
            over = asyncio.Event()
            assert many() == (1, 1)
            crowd = [asyncio.ensure_future(keep_asking(client, url, n, leave)) for n in range(11)]
            steady = asyncio.ensure_future(keep_asking(client, url, 11, over))
            await processes.eventually(lambda: many() == (2, 2))
            before = told.total()
            # Some of them on the new replicas.
            await processes.eventually(lambda: told.total() > before + 60)
            leave.set()
            await asyncio.gather(*crowd)
            await processes.eventually(lambda: many() == (1, 1))
            after = told.total()
            await processes.eventually(lambda: told.total() > after + 2)
            over.set()
            await steady
    assert set(told) == {(200, "message_stop")}


async def test_the_only_engine_actor_is_killed(cluster: Cluster) -> None:
    """What it was working on ends in an error event; what waited in its line, which is bounded, and what comes before
    there is another actor, is answered by that."""
    (cluster.folder / "script.json").write_text(json.dumps(SCRIPT))
    with serving(cluster, FIXED) as url:
        async with aiohttp.ClientSession() as client:
            streams = [asyncio.ensure_future(ask(client, url, f"long {n}")) for n in range(4)]
            await asyncio.sleep(2)
            lined_up = [asyncio.ensure_future(ask(client, url, f"{n}")) for n in range(3)]
            await asyncio.sleep(1)
            status, raw = await ask(client, url, "one too many")
            assert (status, json.loads(raw)["error"]["type"]) == (529, "overloaded_error")
            (engine,) = cluster.replicas("Engine")
            os.kill(engine, signal.SIGKILL)
            later = [asyncio.ensure_future(ask(client, url, f"later {n}", stream=n > 0)) for n in range(3)]
            for status, raw in await asyncio.gather(*streams):
                assert (status, end(raw)) == (200, "error")
                assert raw.count(b"event: error") == 1
                assert b"api_error" in raw
            for status, raw in await asyncio.gather(*lined_up):
                assert (status, end(raw)) == (200, "message_stop")
            assert [status for status, _ in await asyncio.gather(*later)] == [200] * 3
            async with client.get(url + "/health/ready") as response:
                assert response.status == 200


async def test_two_engine_actors_die_with_a_request(cluster: Cluster) -> None:
    """It may be what they die of, so no third is risked; others that came with it are answered."""
    script = {"rules": [{"when": "fatal", "text": "never", "first_delay": 600}, {"text": "Hi there."}]}
    (cluster.folder / "script.json").write_text(json.dumps(script))
    with serving(cluster, FIXED) as url:
        async with aiohttp.ClientSession() as client:
            fatal = asyncio.ensure_future(ask(client, url, "fatal"))
            for _ in range(2):
                assert (await ask(client, url, "Hi"))[0] == 200
                await asyncio.sleep(1)
                os.kill(cluster.replicas("Engine")[0], signal.SIGKILL)
            status, raw = await fatal
            assert (status, end(raw)) == (200, "error")
            assert (await ask(client, url, "Hi"))[0] == 200


async def test_a_surface_that_is_killed(cluster: Cluster) -> None:
    """Its connections break; streams of the other surface go on, and what it had asked for keeps no slot of the engine:
    a request that needs one of these slots is answered while the others are still taken."""
    script = {"slots": 12, "rules": [{"when": "long", "text": "word " * 2000, "delay": 0.05}, {"text": "Hi there."}]}
    (cluster.folder / "script.json").write_text(json.dumps(script))
    with serving(cluster, FIXED) as url:
        async with aiohttp.ClientSession() as client:
            streams = [asyncio.ensure_future(ask(client, url, f"long {n}", max_tokens=2000)) for n in range(12)]
            await asyncio.sleep(4)
            os.kill(cluster.replicas("Surface")[0], signal.SIGKILL)
            status, raw = await ask(client, url, "Hello")
            assert (status, end(raw)) == (200, "message_stop")
            cut = [stream.result()[1] for stream in streams if stream.done()]
            assert 0 < len(cut) < len(streams)
            assert all(b"content_block_delta" in raw and b"message_stop" not in raw for raw in cut)
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
