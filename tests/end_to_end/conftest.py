"""Real servers on loopback: the default model in the embedded engine, and a script in the scripted one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / ".clients"


class Server(NamedTuple):
    """A running server: its base URL, its process and what it has printed so far."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, *arguments: str, port: int = 0) -> Iterator[Server]:
    """`antiphon serve` with these arguments, gone afterwards. It answers, and has said so, when it is handed over. On a
    free port, if no other is given."""
    port = port or free_port()
    log = folder / f"server-{port}.log"
    command = [sys.executable, "-m", "antiphon", "serve", "--port", str(port), "--state-dir", str(folder), *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait(server)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _wait(server: Server) -> None:
    # Fetching the default model, once, is the longest part.
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(server.url + "/health", timeout=2):
                if "is ready." in server.log.read_text():
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the server did not come up:\n{server.log.read_text()}")


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default model in the embedded engine."""
    with serving(tmp_path_factory.mktemp("real"), "--served-model-name", "local-model") as server:
        yield server


@pytest.fixture(scope="session")
def scripted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The script beside this file."""
    with serving(tmp_path_factory.mktemp("scripted"), f"scripted+{HERE / 'script.json'}") as server:
        yield server


def run_client(command: list[str], path: str = "") -> None:
    """Run a client program; fail with its output when it fails."""
    environment = {**os.environ, **({"PYTHONPATH": path} if path else {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
