"""An engine that grows without bound ends at its ceiling, so that nobody else suffers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from antiphon.api.errors import EngineLost
from antiphon.engines import Engine, Job, Reach, connect
from antiphon.engines.chat import ChatServer
from antiphon.engines.hardware import machine
from antiphon.process.worker_config import RUNTIME_VARIABLE, WorkerConfig
from tests.end_to_end.conftest import Server, serving
from tests.faults import processes
from tests.faults.asking import ask, stream
from tests.faults.test_deaths import ends

pytestmark = [
    pytest.mark.xdist_group("engine"),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is a ceiling only where there is /proc"),
]

CEILING_MB = 700
LONG = "Write a very long story about a lighthouse. Do not stop."
# The server takes no such schema; what its engine is asked here comes from beside it.
GROWS = '%llguidance {}\nstart: %json {"type":"array","items":{"type":"integer"},"minItems":1000000000}'
BALLAST = "import sys; taken = bytearray(b'x') * int(sys.argv[1]); print('taken', flush=True); sys.stdin.read()"


@contextmanager
def ballast(size: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds so many bytes of memory."""
    command = [sys.executable, "-c", BALLAST, str(size)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"taken\n"
        yield process


def engine_of(server: Server) -> Engine:
    """A way to the server's engine beside the server, with its key."""
    (worker,) = processes.workers(server.process.pid)
    variables = dict(line.split(b"=", 1) for line in processes.environment(worker).split(b"\0") if b"=" in line)
    (place,) = msgspec.json.decode(variables[RUNTIME_VARIABLE.encode()], type=WorkerConfig).models
    engine = connect(place.engine, Reach(key=place.key, cause=place.cause))
    assert not isinstance(engine, ChatServer)
    return engine


async def test_an_engine_that_grows_ends_at_its_ceiling(tmp_path: Path) -> None:
    """Whoever made it grow is told why, once; a stream beside it ends in one error event that says the same; a process
    with much memory lives; the next request is served, and the engine has ended no second time."""
    arguments = ("--parallel", "2", "--context-length", "2048", "--memory-limit-mb", str(CEILING_MB))
    with ballast(min(2 << 30, machine.free_bytes() // 4)) as beside, serving(tmp_path, *arguments) as server:
        engine = engine_of(server)
        async with aiohttp.ClientSession() as client:
            begun = asyncio.Event()
            streaming = asyncio.ensure_future(stream(client, server.url, LONG, begun, max_tokens=1500))
            await asyncio.wait_for(begun.wait(), 120)
            (first,) = processes.engines(server.process.pid)
            job = Job(prompt=await engine.tokenise(["Numbers:"]), max_tokens=100, grammar=GROWS)
            with pytest.raises(EngineLost, match=f"not sent again.*ceiling of memory, {CEILING_MB} MB"):
                async for _ in engine.generate(job):
                    pass
            raw = await streaming
            assert ends(raw) == ["error"]
            assert b"ceiling of memory" in raw
            status, raw = await ask(client, server.url, "Hi", max_tokens=5)
            assert (status, ends(raw)) == (200, ["message_stop"])
        await engine.close()
        (second,) = processes.engines(server.process.pid)
        assert second != first
        assert server.log.read_bytes().count(b"died (it reached its ceiling of memory") == 1
        assert beside.poll() is None
        beside.communicate()
