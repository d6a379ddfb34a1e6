"""Batches on a disk that is full, read-only or broken, at every call that changes it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from antiphon.batches import worker
from antiphon.batches.store import Store
from tests.batches.test_worker import Application, ended, kept, working
from tests.faults.disk import ERRORS, Disk
from tests.faults.processes import eventually

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_LONGEST_PAUSE", 0.02)


def answering() -> Application:
    return Application(lambda text: (200, {"said": text}))


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
def test_a_batch_is_kept_whole_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Whichever call fails when it is made: nobody ever sees a part of it, and it can be made again."""
    for n in range(100):
        folder = tmp_path / str(n)
        with monkeypatch.context() as patch:
            disk = Disk(folder, patch)
            disk.fail(n, error=error)
            store = Store(folder)
            try:
                kept(store, ["1", "2"])
            except OSError:
                assert store.all() == []
                assert not folder.exists() or os.listdir(folder) == []
                kept(store, ["1", "2"])
            assert len(store.all()) == 1
            if n > disk.changes:
                break
    assert n > 8


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
async def test_a_batch_ends_whatever_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Whichever call fails while it is worked on: every request has one result, and is asked once."""
    for n in range(100):
        with monkeypatch.context() as patch:
            store, application = Store(tmp_path / str(n)), answering()
            kept(store, ["1", "2", "3"])
            disk = Disk(tmp_path / str(n), patch)
            disk.fail(n, error=error)
            async with working(store, application):
                found = await ended(store)
            assert {result["type"] for result in found.values()} == {"succeeded"}
            assert sorted(application.asked) == ["1", "2", "3"]
            if n > disk.changes:
                break
    assert n > 10


async def test_a_full_disk_holds_a_batch_up_and_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full for a while, from whichever call on: no request is asked twice, those in hand are all that were asked, and
    it goes on by itself once there is room."""
    for first in (0, 3, 4, 6):
        with monkeypatch.context() as patch:
            store, application = Store(tmp_path / str(first)), answering()
            kept(store, [str(n) for n in range(10)])
            disk = Disk(tmp_path / str(first), patch)
            disk.break_when(lambda n, first=first: n >= first, errno.ENOSPC)
            async with working(store, application, most=2):
                await eventually(lambda first=first, disk=disk: disk.changes > first + 20)
                assert len(application.asked) <= first
                for line in store.results("msgbatch_a").read_bytes().split(b"\n")[:-1] if first else ():
                    json.loads(line)
                disk.heal()
                await ended(store)
            assert sorted(application.asked) == sorted(str(n) for n in range(10))


def test_what_cannot_be_deleted_or_cancelled_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is as it was."""
    store = Store(tmp_path)
    kept(store, ["1"])
    disk = Disk(tmp_path, monkeypatch)
    disk.break_when(lambda n: True, errno.EROFS)
    for attempt in (store.cancel, store.delete):
        with pytest.raises(OSError, match="Read-only"):
            attempt("msgbatch_a")
    assert [batch.status for batch in store.all()] == ["in_progress"]
