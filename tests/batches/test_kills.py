"""A batch in any spelling ends with the right results, also when its server is killed at any moment."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.batches import requests
from antiphon.batches.store import BatchStore
from tests.batches import lived
from tests.batches.lived import BATCH
from tests.batches.working import results
from tests.laws.spacing import spellings

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


async def check(folder: Path, *, accepted: bool = True) -> None:
    """The one batch has ended, and each of its requests has the one result that is right. One that was not accepted
    may not be there at all."""
    store = lived.kept_in(folder)
    found = await BatchStore(store).all("")
    assert len(found) == 1 or not (found or accepted)
    for batch in found:
        assert batch.ended
        lines = await results(store, batch)
        told = {line["custom_id"]: line["result"] for line in lines}
        assert sorted(line["custom_id"] for line in lines) == ["bad", "call", "greet"]
        assert (batch.counts.succeeded, batch.counts.errored) == (2, 1)
        assert told["greet"]["message"]["content"][0]["text"] == "Hello."
        assert told["call"]["message"]["content"][-1]["input"] == {"place": "here", "n": 1.5}
        assert told["bad"]["error"]["error"]["type"] == "invalid_request_error"
    store.close()


@pytest.mark.parametrize("name", spellings(BATCH))
async def test_every_spelling_is_the_same_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Pretty-printed, with the line ends of Windows, with a byte order mark: the same batch."""
    written = list[bytes]()
    cut = requests.cut
    monkeypatch.setattr(requests, "cut", lambda *given: written.extend(share := cut(*given)) or share)
    await lived.live(tmp_path, spellings(BATCH)[name])
    await check(tmp_path)
    assert written == [json.dumps(request, separators=(",", ":")).encode() for request in BATCH["requests"]]


def test_killed_at_every_change(tmp_path: Path) -> None:
    """SIGKILL at each call that changes a file, half-way through each write, and before each transaction: what was
    accepted ends with the right results, and what was not is there whole or not at all."""
    command = [sys.executable, "-m", "tests.batches.lived", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folders = sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal())
    assert folders[-1] > 25, folders

    async def go_on() -> None:
        for fatal in folders:
            await lived.live(tmp_path / str(fatal), b"")
            await check(tmp_path / str(fatal), accepted=(tmp_path / f"{fatal}.accepted").exists())

    asyncio.run(go_on())
