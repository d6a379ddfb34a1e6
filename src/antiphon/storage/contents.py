"""Contents: the bytes of what is kept, each under a name, in a folder or in an object store.

Names are words of letters, digits and `._-`, each in a folder (`files/file_011`). What is written is there whole or not
at all, and is never changed; whatever keeps it from being read or written raises OSError.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from antiphon.storage import files

PIECE = 256 * 1024
"""Bytes that are read at once."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*/[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")


class Contents(Protocol):
    """Where contents are kept. `place` names it in messages."""

    place: str

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep these bytes. They never lie in memory together. Raises OSError, and whatever the pieces raise; nothing
        is kept then."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes kept under a name, or those from one offset up to another, in pieces. Raises FileNotFoundError
        where there are none."""

    async def delete(self, name: str) -> None:
        """Forget them, if they are there."""

    async def names(self, folder: str, age: float) -> list[str]:
        """What was written in a folder at least so many seconds ago."""


def check_name(name: str) -> str:
    """The name, where it is one. Raises ValueError."""
    if not _NAME.match(name):
        raise ValueError(f"no name of contents: {name!r}")
    return name


class FolderContents:
    """Contents in a folder, for its owner's eyes only."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        path = self._folder / check_name(name)
        handle, draft = await asyncio.to_thread(self._draft, path.parent)
        try:
            try:
                async for piece in pieces:
                    await asyncio.to_thread(files.write_all, handle, piece)
                await asyncio.to_thread(os.fsync, handle)
            finally:
                os.close(handle)
            await asyncio.to_thread(_publish, draft, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise

    def _draft(self, folder: Path) -> tuple[int, str]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return tempfile.mkstemp(dir=folder, prefix=files.DRAFT)

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(open, self._folder / check_name(name), "rb") as file:
            file.seek(start)
            left = end - start if end is not None else sys.maxsize
            while piece := await asyncio.to_thread(file.read, min(PIECE, left)):
                left -= len(piece)
                yield piece

    async def delete(self, name: str) -> None:
        await asyncio.to_thread((self._folder / check_name(name)).unlink, missing_ok=True)

    async def names(self, folder: str, age: float) -> list[str]:
        """Drafts of that age, whose writers are no more, are taken away."""
        return await asyncio.to_thread(self._names, folder, age)

    def _names(self, folder: str, age: float) -> list[str]:
        names = list[str]()
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder / folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime > time.time() - age:
                        continue
                    if entry.name.startswith(files.DRAFT):
                        os.unlink(entry.path)
                    else:
                        names.append(f"{folder}/{entry.name}")
        return names


def _publish(draft: str, path: Path) -> None:
    os.replace(draft, path)
    files.settle(path.parent)
