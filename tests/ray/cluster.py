"""A Ray cluster of our own, Serve on it, and the application from a file of settings, all by the commands of a user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.conftest import free_port
from tests.faults import processes

BIN = Path(sys.executable).parent


class Cluster(NamedTuple):
    """A running cluster: its folder, which all its processes know by their environment, and that environment."""

    folder: Path
    environment: dict[str, str]

    def command(self, *words: str | Path) -> None:
        """Run a command to its end."""
        done = subprocess.run(words, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"

    def replicas(self, deployment: str) -> list[int]:
        """The processes of a deployment's replicas."""
        title = f"ray::ServeReplica:default:{deployment}"
        folders = (folder for folder in Path("/proc").iterdir() if folder.name.isdecimal())
        return sorted(int(folder.name) for folder in folders if self._is(folder, title))

    def _is(self, process: Path, title: str) -> bool:
        try:
            # While it works, the name of a method follows.
            words = (process / "cmdline").read_text().replace("\0", " ").strip().partition(".")[0]
            return words == title and str(self.folder).encode() in processes.environment(int(process.name))
        except OSError:
            return False


@contextmanager
def running(cpus: int) -> Iterator[Cluster]:
    """A cluster of one node, stopped by its process id."""
    # Ray's sockets lie in its folder, and their paths may not be long.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        environment = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            "RAY_ADDRESS": f"127.0.0.1:{port}",
            "ANTIPHON_STATE_DIR": str(folder / "state"),
        }
        start = ["start", "--head", f"--port={port}", f"--num-cpus={cpus}", "--include-dashboard=false", "--block"]
        kinds = ("dashboard-agent-listen", "metrics-export", "runtime-env-agent", "ray-client-server")
        start += [f"--{kind}-port={free_port()}" for kind in kinds]
        with (folder / "ray.log").open("wb") as out:
            head = subprocess.Popen(
                [BIN / "ray", *start, f"--temp-dir={folder / 't'}"],
                env={**environment, "RAY_ADDRESS": ""},
                cwd=folder,
                stdout=out,
                stderr=out,
            )
        try:
            yield Cluster(folder, environment)
        finally:
            _stop(head, signal.SIGTERM)


@contextmanager
def serving(cluster: Cluster, settings: str) -> Iterator[str]:
    """`serve run antiphon.ray:app` with the settings of such a file; gives the address. It takes Serve along when it is
    interrupted."""
    port = free_port()
    cluster.command(BIN / "serve", "start", "--http-port", str(port))
    (cluster.folder / "antiphon.toml").write_text(settings)
    log = cluster.folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [BIN / "serve", "run", "antiphon.ray:app"],
            env=cluster.environment,
            cwd=cluster.folder,
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + 300
        while "is ready at" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(process, signal.SIGINT)


def _stop(process: subprocess.Popen[bytes], sign: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(sign)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
