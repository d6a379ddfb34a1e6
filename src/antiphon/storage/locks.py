"""Locks on files and folders that processes share.

The system takes a lock away from a process that ends, so one that dies keeps nobody out. Of what a lock is waited for
nobody tells: it is tried again and again, while other tasks go on.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

_PAUSE = 0.02
"""Seconds between two tries."""


def try_lock(handle: int, *, shared: bool = False) -> bool:
    """Lock an open file, alone or together with others that share it, unless somebody is in the way."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def unlock(handle: int) -> None:
    """Let go of a lock; closing the file does so, too."""
    fcntl.flock(handle, fcntl.LOCK_UN)


async def until(done: Callable[[], bool], *, patience: float = float("inf")) -> None:
    """Wait for what other processes do. Raises TimeoutError, which is an OSError, after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"other processes had not finished after {patience:g} seconds")
        await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def locked(path: Path, *, patience: float = float("inf")) -> AsyncIterator[None]:
    """Alone among processes and tasks. The lock is on a folder, or on a file that is made where there is none. Raises
    OSError, and TimeoutError as `until` does."""
    handle = _opened(path)
    try:
        await until(lambda: try_lock(handle), patience=patience)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
