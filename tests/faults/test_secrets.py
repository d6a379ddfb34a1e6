"""Keys are where they must be and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.conftest import serving
from tests.faults import processes
from tests.faults.asking import HEADERS, body

pytestmark = [
    pytest.mark.xdist_group("engine"),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc"),
]


async def test_keys_are_neither_inherited_nor_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the environment and of a file let in; no process that the server starts can read one in its environment,
    and no line of the log at any level holds one, nor a wrong one that a client sent."""
    script, file = tmp_path / "script.json", tmp_path / "keys"
    script.write_text(json.dumps({"rules": [{"text": "Hi."}]}))
    file.write_text("# for the others\nsk-of-the-file-1234\n")
    monkeypatch.setenv("ANTIPHON_API_KEY", "sk-of-the-environment-1234")
    arguments = ("--api-key-file", str(file), "--log-level", "debug", "--workers", "2", "--requests-per-minute", "100")
    with serving(tmp_path, f"scripted+{script}", *arguments) as server:
        statuses = []
        async with aiohttp.ClientSession() as client:
            for key in ("sk-of-the-file-1234", "sk-of-the-environment-1234", "sk-that-is-wrong-1234"):
                headers = {**HEADERS, "x-api-key": key}
                sent = body("Hi", stream=False)
                async with client.post(server.url + "/v1/messages", json=sent, headers=headers) as response:
                    statuses.append(response.status)
        assert statuses == [200, 200, 401]
        for pid in processes.children(server.process.pid):
            assert b"sk-" not in processes.environment(pid)
        for pid in processes.workers(server.process.pid):
            assert b"ANTIPHON_RUNTIME" in processes.environment(pid)
    assert b"sk-" not in server.log.read_bytes()
    assert b"key=" in server.log.read_bytes()
