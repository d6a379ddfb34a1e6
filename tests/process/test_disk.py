"""A disk that is full, read-only or broken costs what was to be kept there, and no request."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.accounts.keys import Allowance
from antiphon.engines.cache.pages import Pages
from antiphon.engines.cache.slots import Slots
from antiphon.process.seal_key import seal_key
from antiphon.process.transcript_store import TranscriptFolder
from antiphon.process.worker_state import METRICS_VARIABLE, reserve_metrics
from antiphon.process.worker_state_owner import WorkerStateOwner
from antiphon.serving.rate_limits import RateLimiter
from tests.batches.lived import BATCH
from tests.end_to_end.conftest import HERE, serving
from tests.faults.disk import ERRORS, Disk

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


@pytest.fixture(params=ERRORS, ids=errno.errorcode.get)
def error(request: pytest.FixtureRequest) -> int:
    """Each way in which a disk refuses, as the system's number."""
    return int(request.param)


async def test_what_is_remembered_is_lost_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Whichever call fails, what is read is whole; what is there can be read on a disk that takes nothing more."""
    disk, transcripts = Disk(tmp_path / "shelf", monkeypatch), TranscriptFolder(str(tmp_path / "shelf"))
    for n in range(20):
        disk.fail(n, error=error)
        await transcripts.put(b"a", b"%d" % n)
        assert await transcripts.first([b"a"]) in ((0, b"%d" % n), (0, b"%d" % (n - 1)), None)
    disk.break_when(lambda n: True, error)
    assert await transcripts.first([b"a"]) == (0, b"19")


def test_slots_are_given_or_left_to_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Whichever call fails around a prompt, it is worked on; afterwards all slots are given again."""
    disk, slots = Disk(tmp_path, monkeypatch), Slots(2, str(tmp_path / "slots"))
    for n in range(12):
        disk.fail(n, error=error)
        taken = slots.take(Pages(ids=[n] * 100))
        assert taken is not None
        slots.leave(taken, None)
    disk.heal()
    held = [slots.take(Pages(ids=[n] * 100)) for n in (1, 2)]
    assert {each.index for each in held if each} == {0, 1}


def test_limits_hold_without_the_shared_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Each worker counts by itself then."""
    disk = Disk(tmp_path, monkeypatch)
    for n in range(2):
        disk.fail(n, error=error)
        rate_limiter = RateLimiter(Allowance(requests=5), file=str(tmp_path / "limits"))
        rate_limiter.admit("")
        assert dict(rate_limiter.headers(""))[b"anthropic-ratelimit-requests-remaining"] == b"4"
        rate_limiter.close()


def test_a_seal_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """The workers of a server that cannot keep its key agree on one; one that was kept is read from a disk that takes
    nothing more; and what fails half-way leaves nothing behind."""
    state, shared = tmp_path / "state", tmp_path / "shared"
    shared.mkdir()
    disk = Disk(state, monkeypatch)
    disk.break_when(lambda n: True, error)
    assert seal_key(str(state), str(shared)) == seal_key(str(state), str(shared))
    assert len(seal_key(str(state))) == 32
    for n in range(10):
        disk.fail(n, error=error)
        seal_key(str(state), str(shared))
        assert not state.exists() or set(os.listdir(state)) <= {"seal.key"}
    disk.break_when(lambda n: True, error)
    assert seal_key(str(state), str(shared)) == (state / "seal.key").read_bytes() != (shared / "seal.key").read_bytes()


def test_workers_share_a_folder_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Whichever call fails, there is a whole folder, of which nothing is left in the end."""
    disk = Disk(tmp_path, monkeypatch)
    # The first call makes a folder that is there already, and may fail.
    for n in range(1, 5):
        disk.fail(n, error=error)
        sharing = WorkerStateOwner(tmp_path)
        assert sharing.trouble is not None
        assert {"metrics", "crashes", "stopping", "reload", "restarts"} == set(os.listdir(sharing.folder))
        sharing.close()
        assert not os.path.exists(sharing.folder)
        assert os.listdir(tmp_path) == []


def test_metrics_without_room_are_each_workers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """A page of a file that is mapped into memory and has no room on the disk would be the end of the worker."""
    monkeypatch.setenv(METRICS_VARIABLE, str(tmp_path))
    reserve_metrics()
    sizes = [path.stat() for path in tmp_path.iterdir()]
    assert all(status.st_blocks * 512 >= status.st_size > 0 for status in sizes)
    assert len(sizes) == 3
    Disk(tmp_path, monkeypatch).break_when(lambda n: n == 3, error)
    reserve_metrics()
    assert METRICS_VARIABLE not in os.environ


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def asked(url: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    data = json.dumps(body).encode() if body else None
    headers = {"anthropic-version": "2023-06-01", "content-type": "application/json"}
    request = urllib.request.Request(url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def fill(file: Path) -> None:
    """Write until the disk takes no more."""
    with contextlib.suppress(OSError), file.open("wb", 0) as filling:
        while True:
            filling.write(bytes(4096))


@pytest.mark.parametrize("full", [True, False], ids=["full", "read-only"])
def test_a_server_on_a_small_disk(small: Path, tmp_path: Path, full: bool) -> None:
    """Started on a disk that takes nothing: requests are answered by every worker, a batch is refused with the folder,
    the need and the remedy; once there is room, batches are taken and end, with the same server."""
    script, message = f"scripted+{HERE / 'script.json'}", BATCH["requests"][0]["params"]
    if full:
        fill(small / "filling")
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    limits = ("--requests-per-minute", "1000", "--workers", "2")
    with serving(tmp_path, script, *limits, "--state-dir", str(small / "state")) as server:
        for _ in range(6):
            status, told = asked(server.url, "/v1/messages", message)
            assert status == 200, told
        status, told = asked(server.url, "/v1/messages/batches", BATCH)
        assert status == 500
        for words in (str(small), "kB", "make room there" if full else "make it writable", "choose another with --"):
            assert words in told["error"]["message"]
        if full:
            (small / "filling").unlink()
        else:
            subprocess.run(["mount", "-o", "remount,rw", str(small)], check=True)
        status, batch = asked(server.url, "/v1/messages/batches", BATCH)
        assert status == 200, batch
        for _ in range(600):
            batch = asked(server.url, f"/v1/messages/batches/{batch['id']}")[1]
            if batch["processing_status"] == "ended":
                break
            time.sleep(0.2)
        assert batch["request_counts"]["errored"] == 1
        assert sum(batch["request_counts"].values()) == 3
