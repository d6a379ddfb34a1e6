"""Locks that processes share."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from antiphon.storage.locks import locked, try_lock

HOLD = """
import sys
from pathlib import Path
from antiphon.storage.locks import locked
import asyncio

async def hold():
    async with locked(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(hold())
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
async def test_one_at_a_time(tmp_path: Path, kind: str) -> None:
    """Tasks that lock the same place follow one another."""
    path = tmp_path if kind == "folder" else tmp_path / "lock"
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with locked(path):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(5)))
    assert most == 1


async def test_patience_ends(tmp_path: Path) -> None:
    """Whoever waits for too long gets an OSError, and the holder keeps the lock."""
    async with locked(tmp_path):
        with pytest.raises(TimeoutError):
            async with locked(tmp_path, patience=0):
                raise AssertionError("two have it")
    async with locked(tmp_path, patience=0):
        pass


async def test_a_process_that_dies_keeps_nobody_out(tmp_path: Path) -> None:
    """Its lock goes with it."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(tmp_path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(TimeoutError):
        async with locked(tmp_path, patience=0):
            raise AssertionError("two have it")
    holder.kill()
    await holder.wait()
    async with locked(tmp_path):
        pass


def test_shared_locks_go_together(tmp_path: Path) -> None:
    """Several may share a lock; nobody has it alone meanwhile."""
    handles = [os.open(tmp_path, os.O_RDONLY) for _ in range(3)]
    try:
        assert try_lock(handles[0], shared=True)
        assert try_lock(handles[1], shared=True)
        assert not try_lock(handles[2])
    finally:
        for handle in handles:
            os.close(handle)
    # A lock ends with its file.
    handle = os.open(tmp_path, os.O_RDONLY)
    assert try_lock(handle)
    os.close(handle)
