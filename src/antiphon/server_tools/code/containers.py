"""What code leaves behind: for each container one archive of its files, kept for as long as the container lasts.

Workers share the folder, and a lock on a container's own folder keeps its runs one after another. A container belongs
to the key that it was made for: its folder is named by a hash of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.api.events import Container
from antiphon.storage.locks import locked

KEPT_SECONDS = 3600.0
"""After the last use."""
MOST_BYTES = 2 << 30
"""Of all containers together; beyond it those used least recently go."""
_SWEEP_SECONDS = 60.0
_ARCHIVE = "files.tar"


class Open(msgspec.Struct, frozen=True, kw_only=True):
    """A container in use: the archive of its files, which need not exist, and where they are to be left."""

    archive: Path
    replacement: IO[bytes]

    def keep(self) -> None:
        """Have what was left take the place of what was there."""
        self.replacement.flush()
        os.replace(self.replacement.name, self.archive)


class Containers:
    """The containers in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._swept = 0.0

    def find(self, id: str, key: str) -> Container:
        """The container that a request names. Raises BadRequest when this key has none by that id."""
        try:
            expires = self._place(id, key).stat().st_mtime + KEPT_SECONDS
        except OSError:
            expires = 0.0
        if expires < time.time():
            raise BadRequest(
                f"container: there is no container {id[:80]!r}; it may have expired. Leave the field out for a new one"
            )
        return Container(id=id, expires=expires)

    async def make(self, key: str) -> Container:
        """A new container, with no files."""
        await self._sweep()
        id = f"container_{secrets.token_hex(12)}"
        self._place(id, key).mkdir(parents=True, mode=0o700)
        return self.find(id, key)

    @contextlib.asynccontextmanager
    async def use(self, id: str, key: str) -> AsyncIterator[Open]:
        """The files of a container, for one run at a time. Using it makes it last longer."""
        place = self._place(id, key)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with locked(place):
            os.utime(place)
            with tempfile.NamedTemporaryFile(dir=place, delete=False) as replacement:
                try:
                    yield Open(archive=place / _ARCHIVE, replacement=replacement)
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(replacement.name)

    def _place(self, id: str, key: str) -> Path:
        return self._folder / hashlib.blake2b(f"{key}\0{id}".encode(), digest_size=16).hexdigest()

    async def _sweep(self) -> None:
        if time.monotonic() - self._swept > _SWEEP_SECONDS:
            self._swept = time.monotonic()
            await asyncio.to_thread(self.sweep)

    def sweep(self) -> None:
        """Remove what has expired, and the oldest of what is too much."""
        total, now = 0, time.time()
        for used, place in sorted(self._uses(), reverse=True):
            with contextlib.suppress(OSError):
                total += (place / _ARCHIVE).stat().st_size
            if used + KEPT_SECONDS < now or total > MOST_BYTES:
                shutil.rmtree(place, ignore_errors=True)

    def _uses(self) -> Iterator[tuple[float, Path]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    yield entry.stat().st_mtime, Path(entry.path)
