"""What workers remember of conversations, shared between them: a folder with one small file for each thing.

A file is written beside its place and then moved there, so that a reader finds all of it or nothing, whichever process
ends in between. Only the owner can read them. The oldest files go when the folder has grown beyond its bound; the
supervisor takes the folder away at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path


class Folder:
    """A shelf in a folder, bounded by `capacity` bytes of files. Looking a name up costs one system call when it is not
    there."""

    def __init__(self, folder: str, capacity: int = 64_000_000) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._capacity = capacity
        # The bound is looked after when this process has written a part of it, so it can be exceeded by such parts.
        self._unswept = 0

    async def first(self, names: Sequence[bytes]) -> tuple[int, bytes] | None:
        """Which of the names is the first under which something is still there, and what was put there."""
        for at, name in enumerate(names):
            path = self._folder / name.hex()
            with contextlib.suppress(OSError):
                value = path.read_bytes()
                os.utime(path)
                return at, value
        return None

    async def put(self, name: bytes, value: bytes) -> None:
        """Keep a value. A disk that is full, or a folder that is gone, loses it silently: it was only remembered."""
        with contextlib.suppress(OSError):
            # mkstemp's files are for the owner's eyes only.
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix="new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(value)
                os.replace(temporary, self._folder / name.hex())
            except OSError:
                os.unlink(temporary)
                raise
            self._unswept += len(value)
            if self._unswept > self._capacity // 16:
                self._unswept = 0
                await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        """Take the files away that were not used for the longest time."""
        found = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                found.append((status.st_mtime_ns, status.st_size, entry.path))
        excess = sum(size for _, size, _ in found) - self._capacity
        for _, size, path in sorted(found):
            if excess <= 0:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            excess -= size
