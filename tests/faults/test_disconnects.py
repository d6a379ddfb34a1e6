"""Clients that go away at every stage leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.conftest import Server, serving
from tests.faults import processes
from tests.faults.asking import ask, body, leave

pytestmark = [
    pytest.mark.xdist_group("engine"),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc"),
]

SCRIPT = {
    "slots": 4,
    "rules": [
        {"when": "prefill", "text": "late", "first_delay": 5},
        {"when": "decode", "text": "word " * 50, "delay": 0.01},
        {"text": "Hello."},
    ],
}


async def test_hundreds_of_disconnects_leave_nothing(tmp_path: Path) -> None:
    """Two hundred clients leave while they wait in line, in prefill and in decode, streamed or not: slots, line and
    descriptors come back, memory stays, and the next request is answered."""
    rng = random.Random(11)
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT))
    with serving(tmp_path, f"scripted+{script}", "--max-queue", "1000") as server:
        (worker,) = processes.workers(server.process.pid)
        async with aiohttp.ClientSession() as client:

            async def round_of(many: int) -> list[str]:
                leaving = (
                    leave(server.url, rng.choice(["prefill", "decode"]), rng, 1.5, stream=rng.random() < 0.5)
                    for _ in range(many)
                )
                done = await asyncio.gather(*leaving)
                await processes.eventually(processes.idle(client, server.url), 10)
                return list(done)

            await round_of(50)
            memory, descriptors = processes.memory(worker), processes.descriptors(worker)
            done = [one for _ in range(4) for one in await round_of(50)]
            assert done.count("left") > 100
            await processes.eventually(lambda: processes.descriptors(worker) <= descriptors, 10)
            assert processes.memory(worker) < memory + 8 * 2**20
            assert (await ask(client, server.url, "Hi", stream=False))[0] == 200


async def test_disconnects_free_the_real_engine(tmp_path: Path) -> None:
    """Thirty clients leave a real engine of two slots; it answers a short request at once afterwards."""
    rng = random.Random(5)
    with serving(tmp_path, "--threads", "1", "--parallel", "2", "--context-length", "2048") as server:
        (worker,) = processes.workers(server.process.pid)
        async with aiohttp.ClientSession() as client:
            assert (await ask(client, server.url, "Hi", max_tokens=5))[0] == 200
            memory, descriptors = processes.memory(worker), processes.descriptors(worker)
            texts = ["Count to a thousand. " * rng.choice([1, 1, 60]) for _ in range(30)]
            leaving = (leave(server.url, text, rng, 4, stream=rng.random() < 0.5) for text in texts)
            done = await asyncio.gather(*leaving)
            await processes.eventually(processes.idle(client, server.url), 20)
            assert done.count("left") >= 20
            # The store may have opened a connection more; each client that left anything would be thirty.
            await processes.eventually(lambda: processes.descriptors(worker) <= descriptors + 10, 40)
            assert processes.memory(worker) < memory + 16 * 2**20
            status, raw = await asyncio.wait_for(ask(client, server.url, "Hi", stream=False, max_tokens=5), 20)
            assert (status, json.loads(raw)["type"]) == (200, "message")


async def test_more_streams_than_the_shell_allows_files(tmp_path: Path) -> None:
    """The server takes as many connections as the system grants, not as few as a login shell begins with."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"slots": 1000, "rules": [{"text": "late", "first_delay": 4}]}))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    with serving(tmp_path, f"scripted+{script}") as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        (worker,) = processes.workers(server.process.pid)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
            asking = asyncio.gather(*(ask(client, server.url, "Hi", stream=True) for _ in range(400)))
            await processes.eventually(lambda: processes.descriptors(worker) > 400)
            assert [status for status, *_ in await asking] == [200] * 400


def reading(server: Server, text: str) -> socket.socket:
    """The connection of a client that has sent its request and takes in little ahead of what it reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client.settimeout(60)
    client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    request = json.dumps(body(text, max_tokens=2000)).encode()
    head = "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nanthropic-version: 1\r\ncontent-type: application/json\r\n"
    client.sendall(f"{head}connection: close\r\ncontent-length: {len(request)}\r\n\r\n".encode() + request)
    return client


def read_slowly(client: socket.socket) -> bytes:
    """What a client is sent who rests after each of its first reads, for several times the timeout altogether."""
    raw = bytearray()
    while chunk := client.recv(1 << 17):
        raw += chunk
        if len(raw) < 6 << 20:
            time.sleep(0.2)
    return bytes(raw)


async def test_a_client_that_reads_nothing_gives_its_slot_away(tmp_path: Path) -> None:
    """Its connection stays open, but what it would not take is given up after the timeout, and who waited for the slot
    is answered. A client who reads slowly gets all of its reply, however long that takes."""
    script = tmp_path / "script.json"
    rules = [{"when": "long", "pieces": ["x" * 10000], "repeat": 2000, "delay": 0.001}, {"text": "Hi."}]
    script.write_text(json.dumps({"slots": 1, "rules": rules}))
    with serving(tmp_path, f"scripted+{script}", "--send-timeout", "5") as server:
        async with aiohttp.ClientSession() as client:
            with reading(server, "long"):
                await processes.eventually(lambda: running(client, server))
                assert (await asyncio.wait_for(ask(client, server.url, "Hi", stream=False), 60))[0] == 200
            await processes.eventually(lambda: b"the client went away" in server.log.read_bytes())
            with reading(server, "long") as slow:
                raw = await asyncio.to_thread(read_slowly, slow)
            assert b"message_stop" in raw[-500:]


async def running(client: aiohttp.ClientSession, server: Server) -> bool:
    return (await processes.gauges(client, server.url))["running"] == 1
