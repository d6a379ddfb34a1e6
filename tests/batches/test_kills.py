"""A batch in any spelling ends with the right results, also when its server is killed at any moment."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.batches.store import Store
from tests.batches import lived
from tests.batches.lived import BATCH
from tests.laws.spacing import spellings

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


def check(folder: Path) -> None:
    """The one batch has ended, and each of its requests has the one result that is right."""
    (batch,) = Store(folder).all()
    assert batch.ended
    lines = [json.loads(line) for line in Store(folder).results(batch.about.id).read_bytes().split(b"\n")[:-1]]
    results = {line["custom_id"]: line["result"] for line in lines}
    assert sorted(line["custom_id"] for line in lines) == ["bad", "call", "greet"]
    assert (batch.ended.counts.succeeded, batch.ended.counts.errored) == (2, 1)
    assert results["greet"]["message"]["content"][0]["text"] == "Hello."
    assert results["call"]["message"]["content"][-1]["input"] == {"place": "here", "n": 1.5}
    assert results["bad"]["error"]["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("name", spellings(BATCH))
async def test_every_spelling(tmp_path: Path, name: str) -> None:
    """Pretty-printed, with the line ends of Windows, with a byte order mark: the same batch."""
    folder = tmp_path / "batches"
    await lived.live(folder, spellings(BATCH)[name])
    check(folder)
    (batch,) = Store(folder).all()
    kept = (Store(folder).folder(batch.about.id) / "requests.jsonl").read_bytes()
    compact = (json.dumps(request, separators=(",", ":")).encode() + b"\n" for request in BATCH["requests"])
    assert kept == b"".join(compact)


def test_killed_at_every_change(tmp_path: Path) -> None:
    """SIGKILL at each call that changes anything on disk, half-way through each write: what was accepted ends with the
    right results, and what was not is there whole or not at all."""
    command = [sys.executable, "-m", "tests.batches.lived", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folders = sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal())
    assert folders[-1] > 25
    for fatal in folders:
        folder = tmp_path / str(fatal)
        whole = [name for name in os.listdir(folder) if name.startswith("msgbatch_")]
        assert len(whole) == 1 or (not whole and not (tmp_path / f"{fatal}.accepted").exists())
        asyncio.run(lived.live(folder, b""))
        if whole:
            check(folder)
