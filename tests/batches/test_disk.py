"""Batches on a disk that is full, read-only or broken, and on a database that does not answer, at every change."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from antiphon.batches import journal
from antiphon.batches.store import BatchStore
from antiphon.storage.store import Store, open_store
from tests.batches.lived import strike_transactions
from tests.batches.working import OWNER, answering, ended, kept, working
from tests.faults.disk import ERRORS, Disk
from tests.faults.processes import eventually
from tests.storage.places import local

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that are too short to wait for."""
    monkeypatch.setattr(journal, "_SHORTEST_PAUSE", 0.01)
    monkeypatch.setattr(journal, "_LONGEST_PAUSE", 0.02)
    monkeypatch.setattr("antiphon.batches.worker._PAUSE", 0.02)


@contextmanager
def broken(folder: Path, *, afterwards: bool = False) -> Iterator[tuple[Store, Disk]]:
    """A store, and the disk under it and its database, which nothing has been changed on yet."""
    place = local(folder)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(folder, patch)
        strike_transactions(disk, afterwards=afterwards)
        store = open_store(place.records, place.contents)
        yield store, disk
        store.close()


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
async def test_a_batch_is_kept_whole_or_refused(tmp_path: Path, error: int) -> None:
    """Whichever change fails when it is made: nobody ever sees a part of it, and it can be made again."""
    for n in range(100):
        with broken(tmp_path / str(n)) as (store, disk):
            disk.fail(n, error=error)
            try:
                await kept(store, ["1", "2"])
            except OSError:
                assert await BatchStore(store).all(OWNER) == []
                assert await store.contents.names("batches", -10) == []
                await kept(store, ["1", "2"])
            assert len(await BatchStore(store).all(OWNER)) == 1
            if n > disk.changes:
                break
    assert n > 6


@pytest.mark.parametrize("afterwards", [False, True], ids=["undone", "done"])
async def test_a_batch_ends_whatever_fails_once(tmp_path: Path, afterwards: bool) -> None:
    """Whichever change fails while it is worked on, with a transaction undone or done all the same: every request has
    one result, and is asked once."""
    for n in range(100):
        with broken(tmp_path / str(n), afterwards=afterwards) as (store, disk):
            application = answering()
            await kept(store, ["1", "2", "3"])
            disk.fail(n, error=ERRORS[n % len(ERRORS)])
            async with working(store, application, lease=0.5):
                found = await ended(store)
            assert {result["type"] for result in found.values()} == {"succeeded"}
            assert sorted(application.asked) == ["1", "2", "3"]
            if n > disk.changes:
                break
    assert n > 8


async def test_a_full_disk_holds_a_batch_up_and_nothing_more(tmp_path: Path) -> None:
    """Full for a while, from whichever change on: no request is asked twice, those in hand are all that were asked, and
    it goes on by itself once there is room."""
    for first in (0, 2, 4, 6):
        with broken(tmp_path / str(first)) as (store, disk):
            application = answering()
            await kept(store, [str(n) for n in range(20)])
            disk.break_when(lambda n, first=first: n >= first, errno.ENOSPC)
            async with working(store, application, most=2):
                await eventually(lambda first=first, disk=disk: disk.changes > first + 10)
                asked = len(application.asked)
                await eventually(lambda first=first, disk=disk: disk.changes > first + 20)
                assert len(application.asked) == asked <= 2 * first
                disk.heal()
                await ended(store)
            assert sorted(application.asked) == sorted(str(n) for n in range(20))


async def test_what_cannot_be_deleted_or_cancelled_says_so(tmp_path: Path) -> None:
    """And is as it was."""
    with broken(tmp_path) as (store, disk):
        batch, batches = await kept(store, ["1"]), BatchStore(store)
        disk.break_when(lambda n: True, errno.EROFS)
        for attempt in (batches.cancel(batch.id), batches.delete(batch)):
            with pytest.raises(OSError, match="Read-only"):
                await attempt
        assert [each.status for each in await batches.all(OWNER)] == ["in_progress"]
