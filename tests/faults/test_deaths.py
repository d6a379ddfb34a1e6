"""Whatever dies, and whoever is asked to stop: streams end honestly, and what comes next is served."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.conftest import Server, serving
from tests.faults import processes
from tests.faults.asking import ask, stream
from tests.surfaces import order

pytestmark = [
    pytest.mark.xdist_group("engine"),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc"),
]

LONG = "Write a very long story about a lighthouse. Do not stop."


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default model, with two slots."""
    arguments = ("--threads", "1", "--parallel", "2", "--context-length", "2048")
    with serving(tmp_path_factory.mktemp("real"), *arguments) as server:
        yield server


def ends(raw: bytes) -> list[str]:
    """The terminal events of a stream, which must be legal."""
    found = order.frames(raw)
    order.check(found)
    return [event["type"] for event in found if event["type"] in ("message_stop", "error")]


async def test_an_engine_that_is_killed_ends_its_streams_and_comes_back(real: Server) -> None:
    """SIGKILL in the middle of two streams and with a third in line: each of those at work ends in exactly one error
    event; the one in line, and requests sent while there is no engine, wait and are answered."""
    async with aiohttp.ClientSession() as client:
        begun = [asyncio.Event(), asyncio.Event()]
        streams = [asyncio.ensure_future(stream(client, real.url, LONG, one, max_tokens=1500)) for one in begun]
        await asyncio.wait_for(asyncio.gather(*(one.wait() for one in begun)), 120)
        queued = asyncio.ensure_future(ask(client, real.url, "Hi", max_tokens=5))
        await asyncio.sleep(0.7)
        os.kill(processes.engines(real.process.pid)[0], signal.SIGKILL)
        after = [asyncio.ensure_future(ask(client, real.url, "Hello", stream=n > 0, max_tokens=5)) for n in range(2)]
        for one in await asyncio.wait_for(asyncio.gather(*streams), 60):
            assert ends(one) == ["error"]
            assert b"broke off POST /completion" in one
        status, raw = await queued
        assert (status, ends(raw)) == (200, ["message_stop"])
        statuses = [status for status, _ in await asyncio.gather(*after)]
        assert statuses == [200, 200]
        await processes.eventually(processes.idle(client, real.url), 20)


async def test_an_engine_that_keeps_dying_is_not_hidden(real: Server) -> None:
    """Killed again and again, the engine's state is told by /health/ready, while /health says that the server is up."""
    async with aiohttp.ClientSession() as client:
        said = ""
        for _ in range(6):
            (pid,) = await processes.eventually(lambda: processes.engines(real.process.pid))
            await asyncio.sleep(0.2)
            os.kill(pid, signal.SIGKILL)
            await processes.eventually(lambda gone=pid: gone not in processes.children(real.process.pid))
            async with client.get(real.url + "/health/ready") as response:
                said = await response.text()
            if "keeps dying" in said:
                assert response.status == 529
                break
        assert "times in a row" in said
        assert "signal 9" in said
        async with client.get(real.url + "/health") as response:
            assert response.status == 200
    assert b"the engine of SmolLM2-135M-Instruct died (signal 9)" in real.log.read_bytes()


async def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    """With two workers, requests go on being answered, and there are two again; the metrics of all of them are told,
    and nothing that the dead one ran is still counted as running."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"rules": [{"when": "slow", "text": "word " * 600, "delay": 0.05}, {"text": "Hi."}]}))
    with serving(tmp_path, f"scripted+{script}", "--workers", "2") as server:
        first = processes.workers(server.process.pid)
        async with aiohttp.ClientSession() as client:
            slow = [asyncio.ensure_future(ask(client, server.url, "slow")) for _ in range(8)]
            await processes.eventually(lambda: _running(client, server, 8))
            for pid in first:
                os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*slow, return_exceptions=True)
            await processes.eventually(lambda: set(processes.workers(server.process.pid)).isdisjoint(first))

            async def answered() -> bool:
                try:
                    return (await ask(client, server.url, "Hi", stream=False))[0] == 200
                except aiohttp.ClientConnectionError:
                    return False

            await processes.eventually(answered)
            assert len(await processes.eventually(lambda: processes.workers(server.process.pid))) == 2
            assert await processes.gauges(client, server.url) == {"running": 0, "waiting": 0}


async def test_a_worker_that_is_killed_again_and_again_does_not_end_the_server(tmp_path: Path) -> None:
    """However soon after its start: what it leaves behind, engines and other workers, goes on, and the last one that is
    started answers. A signal to stop is heard meanwhile."""
    (tmp_path / "script.json").write_text("{}")
    with serving(tmp_path, f"scripted+{tmp_path / 'script.json'}") as server:
        dead = set[int]()

        def started() -> set[int]:
            return set(processes.workers(server.process.pid)) - dead

        async with aiohttp.ClientSession() as client:
            for _ in range(3):
                for pid in await processes.eventually(started):
                    os.kill(pid, signal.SIGKILL)
                    dead.add(pid)
            assert (await ask(client, server.url, "Hi", stream=False))[0] == 200
        (pid,) = processes.workers(server.process.pid)
        os.kill(pid, signal.SIGKILL)
        await processes.eventually(lambda: pid not in processes.workers(server.process.pid))
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 60) == 0


def test_a_worker_that_cannot_start_ends_the_server(tmp_path: Path) -> None:
    """It says why, and whoever started the server learns of it."""
    (tmp_path / "script.json").write_text("{}")
    template = tmp_path / "wrong.jinja"
    template.write_text("{% for %}")
    with pytest.raises(RuntimeError, match="the chat template cannot be compiled"):  # noqa: SIM117
        with serving(tmp_path, f"scripted+{tmp_path / 'script.json'}", "--chat-template", str(template)):
            pass


async def test_requests_wait_for_workers_to_be_started_again(tmp_path: Path) -> None:
    """While all workers are dead, no connection is refused: requests wait and are answered. Once the server was asked
    to stop, they are refused at once."""
    (tmp_path / "script.json").write_text("{}")
    with serving(tmp_path, f"scripted+{tmp_path / 'script.json'}", "--workers", "2") as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
            dead = processes.workers(server.process.pid)
            for worker in dead:
                os.kill(worker, signal.SIGKILL)
            await processes.eventually(lambda: set(processes.workers(server.process.pid)).isdisjoint(dead))
            answers = await asyncio.gather(*(ask(client, server.url, "Hi", stream=False) for _ in range(8)))
            assert [status for status, _ in answers] == [200] * 8
            server.process.send_signal(signal.SIGTERM)

            async def refused() -> bool:
                try:
                    await ask(client, server.url, "Hi", stream=False)
                    return False
                except aiohttp.ClientConnectorError:
                    return True
                except aiohttp.ClientConnectionError:
                    return False

            await processes.eventually(refused, 20)


async def _running(client: aiohttp.ClientSession, server: Server, many: int) -> bool:
    return (await processes.gauges(client, server.url))["running"] == many


async def test_streams_that_outlast_the_grace_period_end_in_an_error(tmp_path: Path) -> None:
    """SIGTERM with streams at work and in line: short ones finish, the others end in one error event that says why,
    the server ends by itself, well, and its shared folder is gone."""
    script = tmp_path / "script.json"
    rules = [{"when": "slow", "text": "word " * 2000, "delay": 0.05}, {"text": "word " * 30, "delay": 0.05}]
    script.write_text(json.dumps({"slots": 4, "rules": rules}))
    with serving(tmp_path, f"scripted+{script}", "--grace-period", "8") as server:
        async with aiohttp.ClientSession() as client:
            texts = ["slow", "slow", "brief", "brief", "slow", "slow"]
            asked = []
            for text in texts:
                asked.append(asyncio.ensure_future(ask(client, server.url, text)))
                await asyncio.sleep(0.05)
            await processes.eventually(lambda: _running(client, server, 4))
            await asyncio.sleep(0.7)
            server.process.send_signal(signal.SIGTERM)
            answers = await asyncio.wait_for(asyncio.gather(*asked), 60)
        for text, (status, raw) in zip(texts, answers, strict=True):
            assert status == 200
            assert ends(raw) == (["error"] if text == "slow" else ["message_stop"])
            if text == "slow":
                assert b'"overloaded_error","message":"the server is shutting down"' in raw
        assert server.process.wait(30) == 0


async def test_responses_in_the_background_have_the_grace_period_too(tmp_path: Path) -> None:
    """SIGTERM with two of them at work and no connection open: the short one is made to its end, the other has failed
    when the grace period is over and says why. The next server on the state folder knows of both."""
    script = tmp_path / "script.json"
    rules = [{"when": "slow", "text": "word " * 2000, "delay": 0.05}, {"text": "word " * 40, "delay": 0.05}]
    script.write_text(json.dumps({"slots": 2, "rules": rules}))
    with serving(tmp_path, f"scripted+{script}", "--grace-period", "8") as server:
        async with aiohttp.ClientSession() as client:
            ids = []
            for text in ("slow", "brief"):
                body = {"model": "default", "input": text, "background": True}
                async with client.post(server.url + "/v1/responses", json=body) as response:
                    ids.append((await response.json())["id"])
            await processes.eventually(lambda: _running(client, server, 2))
        server.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.process.wait, 60) == 0
    port = int(server.url.rpartition(":")[2])
    with serving(tmp_path, f"scripted+{script}", port=port) as server:
        async with aiohttp.ClientSession() as client:
            made = []
            for id in ids:
                async with client.get(f"{server.url}/v1/responses/{id}") as response:
                    made.append(await response.json())
    failed, completed = made
    assert (failed["status"], failed["error"]["message"]) == (
        "failed",
        "the server was stopped before the response was made",
    )
    assert completed["status"] == "completed"
    assert completed["output"][0]["content"][0]["text"].count("word") == 40
