"""What workers remember of conversations, shared between them: a folder with one small file for each thing.

A reader finds all of a file or nothing, whichever process ends in between; one that was damaged since does not fit its
checksum, and is not there. Only the owner can read them. The oldest files go when the folder is beyond its bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

from antiphon.storage import files

_CHECKSUM = 4
"""In bytes."""


class TranscriptFolder:
    """A store in a folder, bounded by `capacity` bytes of files. Looking a name up costs one system call when it is not
    there. Stores of another `owner` may share a folder, and find nothing of each other's."""

    def __init__(self, folder: str, capacity: int = 64_000_000, owner: bytes = b"") -> None:
        self._owner = owner
        self._folder = Path(folder)
        self._capacity = capacity
        # The bound is looked after when this process has written a part of it, so it can be exceeded by such parts.
        self._unswept = 0

    async def first(self, names: Sequence[bytes]) -> tuple[int, bytes] | None:
        """Which of the names is the first under which something is still there, and what was put there."""
        for index, name in enumerate(names):
            path = self._path(name)
            with contextlib.suppress(OSError):
                checksum, value = (content := path.read_bytes())[:_CHECKSUM], content[_CHECKSUM:]
                if checksum == _checksum(value):
                    with contextlib.suppress(OSError):
                        os.utime(path)
                    return index, value
        return None

    def _path(self, name: bytes) -> Path:
        return self._folder / hashlib.blake2b(self._owner + name, digest_size=16).hexdigest()

    async def put(self, name: bytes, value: bytes) -> None:
        """Keep a value. A disk that is full, or a folder that is gone, loses it silently: it was only remembered."""
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(self._path(name), _checksum(value) + value, durable=False)
            self._unswept += len(value)
            if self._unswept > self._capacity // 16:
                self._unswept = 0
                await asyncio.to_thread(self._sweep)

    def _sweep(self) -> None:
        """Take the files away that were not used for the longest time."""
        entries = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat()
                entries.append((status.st_mtime_ns, status.st_size, entry.path))
        excess = sum(size for _, size, _ in entries) - self._capacity
        for _, size, path in sorted(entries):
            if excess <= 0:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            excess -= size


def _checksum(value: bytes) -> bytes:
    return zlib.crc32(value).to_bytes(_CHECKSUM, "big")
