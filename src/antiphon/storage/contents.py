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
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Protocol

from antiphon.storage import files
from antiphon.storage.in_thread import in_thread

PIECE = 256 * 1024
"""Bytes that are read at once."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*/[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")


class Contents(Protocol):
    """Where contents are kept. `place` names it in messages."""

    place: str

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep these bytes. They never lie in memory together. Raises OSError, and whatever the pieces raise; nothing
        is kept then."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes kept under a name, or those from one offset up to another, in pieces. A file may be open until all
        are read, or until this is closed. Raises FileNotFoundError where there are none."""

    async def delete(self, name: str) -> None:
        """Forget them, if they are there."""

    async def names(self, folder: str, age: float) -> list[str]:
        """What was written in a folder at least so many seconds ago. What somebody else has put there is left out."""


def check_name(name: str) -> str:
    """The name, where it is one. Raises ValueError."""
    if not is_name(name):
        raise ValueError(f"no name of contents: {name!r}")
    return name


def is_name(name: str) -> bool:
    """Whether contents can have this name."""
    return _NAME.match(name) is not None


class FolderContents:
    """Contents in a folder, for its owner's eyes only."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self._folder = folder

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        draft = _Draft(self._folder / check_name(name))
        try:
            await in_thread(draft.open)
            async for piece in pieces:
                await in_thread(draft.add, piece)
            await in_thread(draft.publish)
        finally:
            draft.drop()

    async def read(self, name: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        path = self._folder / check_name(name)
        with contextlib.ExitStack() as stack:
            # Entered by the thread: whoever is cancelled meanwhile would never get the file.
            file = await in_thread(lambda: stack.enter_context(path.open("rb")))
            file.seek(start)
            left = end - start if end is not None else sys.maxsize
            while piece := await in_thread(file.read, min(PIECE, left)):
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
                    name = f"{folder}/{entry.name}"
                    ours = is_name(name) and entry.is_file(follow_symlinks=False)
                    if not ours or entry.stat().st_mtime > time.time() - age:
                        continue
                    if entry.name.startswith(files.DRAFT):
                        os.unlink(entry.path)
                    else:
                        names.append(name)
        return names


class _Draft:
    """Contents that are being written, beside the place that they are to have. All but `drop` is for threads, one after
    another. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._draft = ""

    def open(self) -> None:
        """Begin."""
        folder = self._path.parent
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        self._handle, self._draft = tempfile.mkstemp(dir=folder, prefix=files.DRAFT)

    def add(self, piece: bytes) -> None:
        """Go on."""
        files.write_all(self._handle, piece)

    def publish(self) -> None:
        """All of it is there now, under its name."""
        os.fsync(self._handle)
        os.replace(self._draft, self._path)
        self._draft = ""
        files.settle(self._path.parent)

    def drop(self) -> None:
        """Let go of it. What was not published is gone."""
        if self._handle >= 0:
            os.close(self._handle)
        if self._draft:
            with contextlib.suppress(OSError):
                os.unlink(self._draft)
