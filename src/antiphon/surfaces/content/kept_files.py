"""Files that a request names by their ids, read for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from antiphon.api.errors import NotFound, NotKept, TooLarge
from antiphon.storage import files
from antiphon.storage.file_store import FileStore
from antiphon.surfaces.content.remote import Fetched


async def read(store: FileStore | None, ids: Mapping[str, str], owner: str, most: int) -> dict[str, Fetched]:
    """The files of this owner, by id; each id comes with the path of the field that names it. Together they have `most`
    bytes at most. Raises NotFound, TooLarge and NotKept."""
    if not ids:
        return {}
    if store is None:
        raise NotFound(f"{next(iter(ids.values()))}: this server keeps no files; send the content as base64")
    try:
        records = {record.id: record for record in await store.find(list(ids), owner)}
        for id, where in ids.items():
            if id not in records:
                raise NotFound(f"{where}: File not found: {id}")
        if (size := sum(record.size for record in records.values())) > most:
            raise TooLarge(f"the files of a request may have {most} bytes together, and these have {size}")
        return {id: Fetched(records[id].mime_type, await _whole(store, id), records[id].filename) for id in ids}
    except FileNotFoundError as error:
        raise NotFound("a file of this request was deleted while it was read") from error
    except OSError as error:
        place, option = store.store.source(error)
        raise NotKept(files.refusal("what this request names", error, place, option)) from error


async def _whole(kept: FileStore, id: str) -> bytes:
    async with contextlib.aclosing(kept.read(id)) as pieces:
        return b"".join([piece async for piece in pieces])
