"""The folder that the supervisor and its workers share."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from antiphon.process import worker_state_owner
from antiphon.process.worker_state import Reloaded, WorkerState
from antiphon.process.worker_state_owner import WorkerStateOwner
from antiphon.storage import files


async def test_workers_are_told_of_the_end(tmp_path: Path) -> None:
    """Every worker acts once when the supervisor lets go of the pipe, and none before."""
    sharing, told = WorkerStateOwner(tmp_path), []
    workers = [WorkerState(sharing.folder) for _ in range(3)]
    for worker in workers:
        worker.when_stopping(lambda: told.append(1))
    await asyncio.sleep(0.05)
    assert not told
    sharing.stop()
    await asyncio.sleep(0.05)
    assert len(told) == 3
    sharing.close()
    assert not os.listdir(tmp_path)


async def test_an_engine_that_keeps_dying_is_told(tmp_path: Path) -> None:
    """A sentence while it is so, nothing before and after; a worker without a supervisor knows nothing."""
    sharing = WorkerStateOwner(tmp_path)
    worker = WorkerState(sharing.folder)
    assert worker.crashes() == ""
    sharing.crashes("a/b", "it dies")
    sharing.crashes("a.b", "this one too")
    assert sorted(worker.crashes().split("; ")) == ["it dies", "this one too"]
    sharing.crashes("a.b", "")
    assert worker.crashes() == "it dies"
    sharing.crashes("a/b", "")
    assert worker.crashes() == ""
    sharing.close()
    alone = WorkerState("")
    alone.when_stopping(lambda: None)
    alone.close()
    assert (alone.crashes(), alone.limits) == ("", "")


def let_go(sharing: WorkerStateOwner) -> None:
    """What the system does for a server that is killed."""
    sharing.stop()
    os.close(sharing._lock)
    sharing._lock = -1


@pytest.mark.parametrize("earlier", [True, False])
def test_a_folder_stays_while_its_server_runs(tmp_path: Path, earlier: bool) -> None:
    """Whatever other servers start: until its last stream has ended, which is after it has told its workers to stop. Of
    one of an `earlier` version, which locks nothing, only until then."""
    running = WorkerStateOwner(tmp_path)
    if earlier:
        os.close(running._lock)
        running._lock = -1
    for drains in (False, True):
        if drains:
            running.stop()
        os.utime(running.folder, (0, 0))
        WorkerStateOwner(tmp_path).close()
        assert Path(running.folder).exists() is not (earlier and drains)
    running.close()
    assert not os.listdir(tmp_path)


def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    """By the next one; the folder of a server that runs stays, and so does whatever else lies there."""
    dead, alive = WorkerStateOwner(tmp_path), WorkerStateOwner(tmp_path)
    (tmp_path / "seal.key").write_bytes(b"k")
    let_go(dead)
    for folder in (dead.folder, alive.folder):
        os.utime(folder, (0, 0))
    after = WorkerStateOwner(tmp_path)
    assert not Path(dead.folder).exists()
    assert Path(alive.folder).exists()
    assert (tmp_path / "seal.key").exists()
    alive.close()
    after.close()


class FullDisk:
    """A disk without room, which counts what it was asked to take."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked = threading.Semaphore(0)
        self.has_room = False
        self._write = files.write
        patch.setattr(files, "write", self.write)
        patch.setattr(worker_state_owner, "_AGAIN", 0.01)

    def write(self, *arguments: Any, **named: Any) -> None:
        """As `files.write`, when there is room."""
        if self.has_room:
            self._write(*arguments, **named)
            return
        self.asked.release()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("room", [True, False])
def test_a_reload_is_told_when_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool) -> None:
    """A disk that was full when the engine came back costs the time until it has room; where it never has, the end of
    the server ends the attempts."""
    sharing, disk = WorkerStateOwner(tmp_path), FullDisk(monkeypatch)
    outcome = Reloaded(time.time())
    telling = threading.Thread(target=sharing.note_reloaded, args=("m", outcome), daemon=True)
    telling.start()
    for _ in range(3):
        assert disk.asked.acquire(timeout=60)
    if room:
        disk.has_room = True
        telling.join(60)
        assert WorkerState(sharing.folder).reloaded("m") == outcome
    sharing.close()
    telling.join(60)
    assert not telling.is_alive()
