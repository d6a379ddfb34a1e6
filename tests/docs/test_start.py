"""The start page, block by block, as a newcomer would type it: on the default model, with a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks
from tests.end_to_end.conftest import free_port

ROOT = Path(__file__).parents[2]
SERVE, *REST = blocks("index.md")

pytestmark = pytest.mark.xdist_group("engine")


def run(block: Block, environment: dict[str, str], port: int) -> str:
    """What a block prints. Only the port is another one than in the page."""
    code = block.code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    command = {"sh": ["sh", "-e", "-c", code], "python": [sys.executable, "-c", code]}[block.language]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_block_does_what_the_page_says(tmp_path: Path) -> None:
    """The first block serves, every other one succeeds and prints something."""
    port = free_port()
    environment = {**os.environ, "ANTIPHON_PORT": str(port), "XDG_STATE_HOME": str(tmp_path)}
    log = tmp_path / "serve.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            ["sh", "-c", SERVE.code], cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 300
        while True:
            assert server.poll() is None, log.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                    break
            except OSError:
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        for block in REST:
            assert run(block, environment, port).strip(), block.code
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
    assert f"http://127.0.0.1:{port}" in log.read_text()
