"""Whether a command, however it was installed, serves the default model as a server should, and stops as it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.end_to_end.conftest import free_port

# Fetching the default model is part of it.
_PATIENCE = 600.0


def check(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    health: Callable[[int], None] = lambda port: None,
    first: Callable[[int], int] = lambda process: process,
) -> str:
    """Start the server, ask it something, stop it, and return what was seen. `health` is called with its port while it
    runs; `first` tells of the process that was started which one is to be stopped. Raises AssertionError or OSError."""
    port, begun = free_port(), time.monotonic()
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [*command, "--port", str(port)], env={**environment}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait(f"{url}/health/ready", server, log)
        ready = time.monotonic() - begun
        health(port)
        reply = _ask(url)
        assert reply["content"][0]["text"], reply
        models = json.loads(_open(f"{url}/v1/models"))["data"]
        os.kill(first(server.pid), signal.SIGTERM)
        code = server.wait(60)
        assert code == 0, f"after SIGTERM the server ended with {code}; {log} has its words"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    return f"{models[0]['id']} ready after {ready:.0f} s, {reply['usage']['output_tokens']} tokens, ended with 0"


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None, f"the server ended with {server.returncode}; {log} has its words"
        try:
            _open(url)
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"{url} did not answer within {_PATIENCE:.0f} s; {log} has the server's words")


def _ask(url: str) -> dict[str, Any]:
    body = {"model": "default", "max_tokens": 16, "messages": [{"role": "user", "content": "Say hello."}]}
    return dict(json.loads(_open(f"{url}/v1/messages", json.dumps(body).encode())))


def _open(url: str, body: bytes | None = None) -> bytes:
    headers = {"x-api-key": "install", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=300) as response:
        return bytes(response.read())
