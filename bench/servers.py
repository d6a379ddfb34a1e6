"""What `bench.run` starts: the paced upstream and the servers in front of it, on free loopback ports."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.measuring import IDEAL
from tests.end_to_end.conftest import free_port

LITELLM = "litellm[proxy]==1.106.12"
"""Never without its version: 1.107.0 was a compromised release."""
OPEN = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
"""It wants a key, on loopback too."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "antiphon-bench"


class Running(NamedTuple):
    """A server: its base URL and its processes."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def pids(self) -> list[int]:
        """The process and its children."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [self.process.pid, *map(int, found.stdout.split())]


@contextmanager
def started(
    command: list[str], port: int, path: str, log: Path, patience: float = 120, **environment: str
) -> Iterator[Running]:
    """The command, once it answers at the path; ended by its process id. Raises RuntimeError if it does not within
    `patience` seconds."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **environment})
    server = Running(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                with urllib.request.urlopen(server.url + path, timeout=2):
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not come up:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def upstream(folder: Path) -> Iterator[Running]:
    """The engine that is only a clock, at a token every 20 ms."""
    port = free_port()
    with started([sys.executable, "-m", "bench.upstream", str(port)], port, "/health", folder / "upstream.log") as it:
        pace(it.url, IDEAL)
        yield it


def pace(url: str, seconds: float) -> None:
    """Set the pace of the streams that begin from now on."""
    asked = urllib.request.Request(url + "/pace", data=str(seconds).encode(), method="PUT")
    with urllib.request.urlopen(asked, timeout=5):
        pass


@contextmanager
def without_pace(url: str) -> Iterator[None]:
    """Streams that begin meanwhile come as fast as they are taken."""
    pace(url, 0)
    try:
        yield
    finally:
        pace(url, IDEAL)


@contextmanager
def relay(folder: Path, behind: str) -> Iterator[Running]:
    """The floor."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("granian")), "--interface", "asgi", "--log-level", "error"]
    command += ["--port", str(port), "bench.relay:application"]
    with started(command, port, "/", folder / "relay.log", RELAY_UPSTREAM=behind) as it:
        yield it


@contextmanager
def antiphon(folder: Path, model: str, *more: str) -> Iterator[Running]:
    """This server, with one worker."""
    port = free_port()
    command = [sys.executable, "-m", "antiphon", "serve", *([model] if model else []), "--port", str(port)]
    command += ["--state-dir", str(folder), "--log-level", "warning", *more]
    with started(command, port, "/health", folder / f"antiphon-{port}.log") as it:
        yield it


@contextmanager
def litellm(folder: Path, behind: str, model: str = "paced") -> Iterator[Running | None]:
    """LiteLLM's proxy before this model of a server, in an environment of its own; None where it cannot be had."""
    home = CACHE / LITELLM.replace("[proxy]==", "-")
    binary = home / "bin" / "litellm"
    if not binary.exists():
        print(f"installing {LITELLM}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", LITELLM]
        if subprocess.run(pip, check=False).returncode:
            yield None
            return
    port = free_port()
    (folder / "litellm.yaml").write_text(
        f"model_list:\n  - model_name: default\n    litellm_params:\n      model: hosted_vllm/{model}\n"
        f"      api_base: {behind}/v1\n      api_key: any\n"
    )
    command = [str(binary), "--config", str(folder / "litellm.yaml"), "--port", str(port), "--num_workers", "1"]
    try:
        with started(
            command, port, "/health/liveliness", folder / "litellm.log", LITELLM_LOCAL_MODEL_COST_MAP="True", **OPEN
        ) as it:
            yield it
    except RuntimeError as trouble:
        print(trouble, flush=True)
        yield None
