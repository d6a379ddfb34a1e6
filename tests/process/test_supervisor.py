"""`serve` as a process: it drains, forces, starts again what dies, and leaves nothing behind.

The application is a small one of this file's own, so that only the supervisor is under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engines.embedded import Launch
from antiphon.engines.hardware import memory
from antiphon.engines.models import model_store
from antiphon.process import supervisor
from antiphon.process.engine_process import EngineProcess, EngineUnavailable
from antiphon.settings import sources
from tests.faults import processes

START = """
import sys
from antiphon.settings import sources
from antiphon.process import supervisor

if __name__ == "__main__":
    settings = sources.load({"port": sys.argv[1], "workers": sys.argv[2], "grace_period": sys.argv[3],
                            "model": "llama.cpp+http://127.0.0.1:1"}, environment={})
    sys.exit(supervisor.serve(settings, application="test_supervisor:small_application"))
"""


def small_application() -> Any:
    """An ASGI application: /health, /pid, /die, and /N, which sends N lines, one every 100 ms."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        path = scope["path"].strip("/")
        if path == "die":
            os._exit(3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(int(path) if path.isdigit() else 0):
            await send({"type": "http.response.body", "body": b"%d\n" % number, "more_body": True})
            await asyncio.sleep(0.1)
        body = str(os.getpid()).encode() if path == "pid" else b"{}" if path == "health" else b"end\n"
        await send({"type": "http.response.body", "body": body})

    return application


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(holds: Callable[[], Any]) -> Any:
    """What the function gives as soon as that is true. Patient, because the machine may be busy."""
    for _ in range(600):
        if value := holds():
            return value
        time.sleep(0.1)
    raise AssertionError("it never came true")


class Running:
    """A supervisor in a process group of its own."""

    def __init__(self, folder: Path, *, workers: int = 1, grace_period: float = 30) -> None:
        script = folder / "start.py"
        script.write_text(START)
        self.connections: list[http.client.HTTPConnection] = []
        self.responses: list[http.client.HTTPResponse] = []
        self.log = folder / "log"
        command = [sys.executable, str(script), "0", str(workers), str(grace_period)]
        here = Path(__file__)
        path = os.pathsep.join([str(here.parent), str(here.parents[2]), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        eventually(lambda: b"ready" in self.log.read_bytes() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()
        self.port = int(re.findall(r"address +http://127\.0\.0\.1:(\d+)", self.log.read_text())[0])

    def ask(self, path: str) -> http.client.HTTPConnection:
        """A connection of its own that a request was sent on."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.connections.append(connection)
        connection.request("GET", "/" + path)
        return connection

    def get(self, path: str) -> http.client.HTTPResponse:
        self.responses.append(self.ask(path).getresponse())
        return self.responses[-1]

    def listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def alive(self) -> bool:
        """Whether any process of the group is left."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def end(self) -> None:
        if self.alive():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for opened in (*self.responses, *self.connections):
            opened.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts supervisors, and ends them after the test."""
    started: list[Running] = []

    def begin(**options: Any) -> Running:
        started.append(Running(**{"folder": tmp_path, **options}))
        return started[-1]

    yield begin
    for running in started:
        running.end()


def test_a_signal_lets_running_streams_finish(start: Callable[..., Running]) -> None:
    """SIGTERM closes the door at once, a stream that runs is sent to its end, then nothing is left."""
    server = start(workers=2)
    idle = server.get("pid")
    idle.read()
    stream = server.get("20")
    assert stream.readline() == b"0\n"
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: not server.listening())
    assert server.process.poll() is None
    assert stream.read().splitlines()[-1] == b"end"
    assert server.process.wait(60) == 0
    eventually(lambda: not server.alive())


def test_the_grace_period_ends_a_stream_that_does_not(start: Callable[..., Running]) -> None:
    """A stream that runs longer than the grace period is cut, and the server still ends well."""
    server = start(grace_period=1)
    stream = server.get("10000")
    assert stream.readline() == b"0\n"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    with pytest.raises((http.client.HTTPException, OSError)):
        stream.read()
    eventually(lambda: not server.alive())


def test_a_second_signal_forces(start: Callable[..., Running]) -> None:
    """The second signal does not wait for the grace period (of an hour here)."""
    server = start(grace_period=3600)
    stream = server.get("100000")
    assert stream.readline() == b"0\n"
    server.process.send_signal(signal.SIGINT)
    eventually(lambda: b"stopping" in server.log.read_bytes())
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 0
    eventually(lambda: not server.alive())


@contextlib.contextmanager
def hanging_up(action: signal.Handlers) -> Iterator[None]:
    """What SIGHUP does to processes that are started meanwhile. Where it was ignored before, they would ignore it."""
    before = signal.signal(signal.SIGHUP, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_is_closed_ends_the_server(start: Callable[..., Running]) -> None:
    """SIGHUP, which reaches all processes and may come twice, drains like SIGTERM, and nothing is left."""
    with hanging_up(signal.SIG_DFL):
        server = start(workers=2)
    stream = server.get("20")
    assert stream.readline() == b"0\n"
    for _ in range(2):
        os.killpg(server.process.pid, signal.SIGHUP)
    lines = stream.read().split()
    assert lines[-1] == b"end"
    assert len(lines) == 20
    assert server.process.wait(60) == 0
    eventually(lambda: not server.alive())


def test_a_server_outlives_the_terminal_when_it_was_told_to(start: Callable[..., Running]) -> None:
    """With SIGHUP ignored from the start, as `nohup` has it, nothing happens: the same worker answers."""
    with hanging_up(signal.SIG_IGN):
        server = start()
    worker = server.get("pid").read()
    os.killpg(server.process.pid, signal.SIGHUP)
    time.sleep(1)
    assert server.get("pid").read() == worker


def test_a_dead_worker_is_replaced(start: Callable[..., Running]) -> None:
    """A worker that dies takes its own connection along, and another one answers."""
    server = start()
    before = server.get("pid").read()
    with pytest.raises((http.client.HTTPException, OSError)):
        server.get("die")

    def another() -> bool:
        try:
            return server.get("pid").read() != before
        except (http.client.HTTPException, OSError):
            return False

    eventually(another)


def test_connections_wait_while_all_workers_are_dead(start: Callable[..., Running]) -> None:
    """None is refused or cut, neither one that no worker had taken yet nor one that comes when there is none: those who
    are started in their place answer."""
    if sys.platform != "linux":
        pytest.skip("elsewhere workers share one socket")
    server = start(workers=2)
    dead = set[int]()
    eventually(lambda: dead.add(int(server.get("pid").read())) or len(dead) == 2)
    for pid in dead:
        os.kill(pid, signal.SIGSTOP)
    # A busy machine takes its time to stop a thread, and until then it takes connections, which die with it.
    eventually(lambda: all(map(processes.stopped, dead)))
    waiting = [server.ask("pid") for _ in range(8)]
    for pid in dead:
        os.kill(pid, signal.SIGKILL)
    waiting += [server.ask("pid") for _ in range(8)]
    assert dead.isdisjoint(int(connection.getresponse().read()) for connection in waiting)


def test_nothing_outlives_the_supervisor(start: Callable[..., Running]) -> None:
    """When the supervisor is killed outright, its workers end by themselves."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent died")
    server = start(workers=2)
    server.process.kill()
    server.process.wait()
    eventually(lambda: not server.alive())


@pytest.mark.parametrize("workers", [1, 2])
def test_any_free_port_will_do(tmp_path: Path, workers: int, start: Callable[..., Running]) -> None:
    """With port 0 every server has a port of its own, which it prints and no other program is given."""
    ports = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        server = start(folder=tmp_path / name, workers=workers)
        assert server.get("health").status == 200
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", server.port))
        ports.append(server.port)
    assert len(set(ports)) == 2


def test_a_port_in_use_is_told() -> None:
    """A port that another program listens on is refused with a sentence that names it."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = sources.Settings(port=other.getsockname()[1], model="llama.cpp+http://127.0.0.1:1")
        with pytest.raises(supervisor.CannotServe, match=f"port {settings.port} on 127.0.0.1 is in use"):
            supervisor.serve(settings)


@pytest.mark.skipif(sys.platform != "linux", reason="needs names in the network namespace")
def test_a_port_is_claimed_while_models_load() -> None:
    """Of two servers that start at once on one port, one is refused, although nobody listens on it yet."""
    settings = sources.Settings(port=free_port())
    refused = pytest.raises(supervisor.CannotServe, match="is in use")
    with supervisor.usable_port(settings), refused, supervisor.usable_port(settings):
        pass
    with supervisor.usable_port(settings) as port:
        assert port == settings.port


def test_an_unknown_engine_is_told() -> None:
    """An attached engine with an unknown scheme is refused before anything starts, with the known ones."""
    settings = sources.Settings(port=free_port(), model="abacus+http://127.0.0.1:1")
    with pytest.raises(supervisor.CannotServe, match=r"unknown engine 'abacus'.*llama\.cpp"):
        supervisor.serve(settings)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8), st.integers(0, 1 << 40))
def test_engines_share_memory_fairly(wanted: list[int], free: int) -> None:
    """Several engines never get more than there is, none gets more than it wants, and one that gets less than it wants
    gets at least an even share, and no less than any other but for what others did not want."""
    budgets = memory.budgets(wanted, free)
    assert sum(budgets) <= free
    for got, want in zip(budgets, wanted, strict=True):
        assert got <= want
        if got < want:
            assert got + 1 >= int(free * 0.6) // len(wanted)
            assert got + len(wanted) >= max(budgets)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=8), st.integers(0, 1 << 42))
def test_ceilings_leave_room_for_engines_and_for_the_machine(needed: list[int], free: int) -> None:
    """Each engine may take what it needs and at least half a gigabyte more, unless all of them together would take more
    than nine tenths of what is free; none is given so little that nothing could run."""
    ceilings = memory.ceilings(needed, free)
    least = len(needed) * (512 << 20)
    assert sum(ceilings) <= max(0.9 * free, 0) + least
    if sum(ceilings) < 0.9 * free - len(needed) - least:
        assert all(ceiling >= need + (512 << 20) for ceiling, need in zip(ceilings, needed, strict=True))
    assert min(ceilings) >= 512 << 20


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    """An engine that cannot start says why, with the end of its log, and leaves no process."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF but not really")
    engine = EngineProcess(Launch(model=str(bad), window=512, log=str(tmp_path / "log")), lambda sentence: None)
    try:
        with pytest.raises(EngineUnavailable, match=r"bad\.gguf"):
            engine.start()
    finally:
        engine.stop()
    assert engine.pid is None


def test_a_dead_engine_comes_back_on_the_same_port(tmp_path: Path) -> None:
    """An engine that is killed is started again where it was, only those with the key may use it, and stopping it
    leaves no process."""
    model = model_store.default_model(Path(sources.load(environment={}).cache_dir))
    said: list[str] = []
    launch = Launch(model=str(model), window=512, parallel=1, key="sesame", log=str(tmp_path / "log"))
    engine = EngineProcess(launch, said.append, pause=0.1)

    def props(key: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/props", headers={"Authorization": f"Bearer {key}"})
            return connection.getresponse().status
        except (http.client.HTTPException, OSError):
            return 0
        finally:
            connection.close()

    try:
        port = engine.start()
        assert props("sesame") == 200
        assert props("guess") == 401
        first = engine.pid
        assert first
        os.kill(first, signal.SIGKILL)
        eventually(lambda: said[-1:] == ["the engine answers again"])
        assert "signal 9" in said[0]
        assert props("sesame") == 200
        second = engine.pid
    finally:
        engine.stop()
    assert second not in (None, first)
    assert engine.pid is None
    assert props("sesame") == 0
