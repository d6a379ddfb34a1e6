"""The loop on the page for people who train, run as it stands there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.docs.blocks import blocks
from tests.end_to_end.conftest import free_port


def test_the_loop_samples_rewards_and_exports(tmp_path: Path) -> None:
    """Four episodes of two turns each are four trajectories of two sampled runs, each with its reward."""
    (loop,) = (block for block in blocks("training.md") if block.language == "python")
    (tmp_path / "script.json").write_text('{"rules": [{"text": "It is 4."}]}')
    port = free_port()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": path}
    serve = [sys.executable, "-m", "antiphon", "serve", "scripted+script.json"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*serve, "--port", str(port), "--record", "rollouts"], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 300
        while True:
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
                    break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.1)
        code = loop.code.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace(
            '["antiphon", ', f'[{sys.executable!r}, "-m", "antiphon", '
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    finally:
        server.terminate()
        server.wait(60)
    rows = [json.loads(line) for line in (tmp_path / "rollouts.jsonl").read_text().splitlines()]
    assert sorted(row["reward_score"] for row in rows) == [0.0, 0.0, 1.0, 1.0]
    for row in rows:
        assert row["broken"] == ["", ""]
        assert sum(row["response_mask"]) == 2 * len(["It", " is", " 4."])
        assert len(row["response_ids"]) == len(row["response_mask"]) == len(row["response_logprobs"])
