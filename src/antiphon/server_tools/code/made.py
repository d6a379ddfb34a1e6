"""Files that code made, kept for the client: from a container's archive into the store of files."""

from __future__ import annotations

import contextlib
import mimetypes
import secrets
import tarfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from antiphon.storage.contents import PIECE
from antiphon.storage.file_store import FileRecord, FileStore, OverQuota
from antiphon.storage.in_thread import in_thread


async def keep(files: FileStore, archive: Path, names: Sequence[str], owner: str) -> tuple[list[str], list[str]]:
    """Keep files of an archive for a key. Gives their ids, and a sentence for each that cannot be kept."""
    ids, troubles = list[str](), list[str]()
    for name in names:
        try:
            ids.append(await _keep(files, archive, name, owner))
        except OverQuota as over:
            troubles.append(f"{name}: {over}")
        except (OSError, KeyError, tarfile.TarError) as error:
            troubles.append(f"{name}: {error}")
    return ids, troubles


async def _keep(files: FileStore, archive: Path, name: str, owner: str) -> str:
    id = f"file_{secrets.token_hex(12)}"
    async with contextlib.aclosing(_pieces(archive, name)) as pieces:
        size = await files.write(id, pieces)
    created = time.time()
    filename = name.rpartition("/")[2]
    record = FileRecord(
        id=id,
        owner=owner,
        filename=filename,
        mime_type=mimetypes.guess_type(filename)[0] or "application/octet-stream",
        size=size,
        created=created,
        expires=created + files.keep if files.keep else None,
        downloadable=True,
    )
    await files.add(record)
    return id


async def _pieces(archive: Path, name: str) -> AsyncGenerator[bytes, None]:
    """The bytes of a file in an archive, of which nothing is unpacked. Raises OSError, KeyError and TarError."""
    with contextlib.ExitStack() as stack:
        opened = await in_thread(lambda: stack.enter_context(tarfile.open(archive, "r:")))
        file = opened.extractfile(await in_thread(opened.getmember, name))
        if file is None:
            raise KeyError(f"{name} is no file")
        with file:
            while piece := await in_thread(file.read, PIECE):
                yield piece
