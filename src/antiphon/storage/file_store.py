"""Files that clients keep here: a record of each, and its bytes among the contents.

A file is there once all of it is: its record is written last. What a client gave up half-way, or a server that died,
leaves contents without a record, which `sweep` takes away.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    MetaData,
    Row,
    Table,
    Text,
    func,
    or_,
    select,
    tuple_,
)

from antiphon.storage.records import TableSet
from antiphon.storage.store import Store

_FOLDER = "files"
_LEFT_BEHIND = 24 * 3600.0
"""Seconds after which contents without a record belong to nobody: no upload takes that long."""

_METADATA = MetaData()
_FILES = Table(
    "files",
    _METADATA,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("expires", Float(53)),
    Column("downloadable", Boolean, nullable=False),
    Index("files_of_owner", "owner", "created", "id"),
)
_TABLES = TableSet("files", 1, _METADATA)


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a file. `owner` is the label of the key it belongs to, `size` is in bytes; `created` and
    `expires` (None: never) are Unix seconds."""

    id: str
    owner: str
    filename: str
    mime_type: str
    size: int
    created: float
    expires: float | None
    downloadable: bool


class OverQuota(Exception):
    """The files of this key would take more than it may keep. `used` and `quota` are in bytes."""

    def __init__(self, used: int, quota: int) -> None:
        super().__init__(f"{used} of {quota} bytes are in use")
        self.used = used
        self.quota = quota


class FileStore(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """The files in a store. Each key may keep `quota` bytes (0: any number) in files of `largest` bytes, for `keep`
    seconds where it says nothing else (0: for good). With `downloadable`, it may also fetch what it uploaded.
    Everything raises OSError where the store does not work."""

    store: Store
    largest: int = 500 * 1000 * 1000
    quota: int = 0
    keep: float = 0
    downloadable: bool = False

    async def write(self, id: str, pieces: AsyncIterator[bytes]) -> int:
        """Keep the bytes of a file to be, and say how many there are."""
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in pieces:
                size += len(piece)
                yield piece

        await self.store.contents.write(f"{_FOLDER}/{id}", counted())
        return size

    async def add(self, record: FileRecord) -> None:
        """Make a file of bytes that were written. Raises OverQuota, and then the bytes are gone."""

        def work(connection: Connection) -> None:
            mine = select(func.coalesce(func.sum(_FILES.c.size), 0)).where(_FILES.c.owner == record.owner)
            used = int(connection.scalar(mine.where(_lasts())) or 0) if self.quota else 0
            if self.quota and used + record.size > self.quota:
                raise OverQuota(used, self.quota)
            connection.execute(_FILES.insert().values(**msgspec.structs.asdict(record)))

        try:
            await self.store.records.write(_TABLES, work)
        except OverQuota:
            await self.store.contents.delete(f"{_FOLDER}/{record.id}")
            raise

    async def get(self, id: str, owner: str) -> FileRecord | None:
        """A file of this owner, if there is one of this id."""
        found = await self.find([id], owner)
        return found[0] if found else None

    async def find(self, ids: Sequence[str], owner: str) -> list[FileRecord]:
        """Those of these files that there are, the latest first."""
        return await self._select(_FILES.c.id.in_(ids), _FILES.c.owner == owner, limit=len(ids))

    async def page(
        self, owner: str, limit: int, *, after: tuple[float, str] | None = None, before: tuple[float, str] | None = None
    ) -> list[FileRecord]:
        """So many files of this owner, the latest first: those that come after a file in this order, or those right
        before one, each named by when it was made and its id."""
        place = tuple_(_FILES.c.created, _FILES.c.id)
        conditions: list[ColumnElement[bool]] = [_FILES.c.owner == owner]
        if after:
            conditions.append(place < tuple_(*after))
        if before:
            conditions.append(place > tuple_(*before))
        backwards = before is not None and after is None
        found = await self._select(*conditions, limit=limit, oldest_first=backwards)
        return found[::-1] if backwards else found

    async def _select(
        self, *conditions: ColumnElement[bool], limit: int, oldest_first: bool = False
    ) -> list[FileRecord]:
        order = (_FILES.c.created, _FILES.c.id)
        placed = order if oldest_first else tuple(each.desc() for each in order)
        query = select(_FILES).where(_lasts(), *conditions).order_by(*placed).limit(limit)
        rows = await self.store.records.read(_TABLES, lambda connection: connection.execute(query).all())
        return [_record(row) for row in rows]

    def read(self, id: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, in pieces, to be closed. Raises FileNotFoundError where it was deleted."""
        return self.store.contents.read(f"{_FOLDER}/{id}")

    async def delete(self, id: str) -> None:
        """Forget a file."""
        await self.store.records.write(_TABLES, lambda one: one.execute(_FILES.delete().where(_FILES.c.id == id)))
        await self.store.contents.delete(f"{_FOLDER}/{id}")

    async def sweep(self) -> None:
        """Forget files whose time is over, and contents that no file has."""
        expired = select(_FILES.c.id).where(_FILES.c.expires <= time.time())
        for id in await self.store.records.read(_TABLES, lambda one: one.scalars(expired).all()):
            await self.delete(id)
        for name in await self.store.contents.names(_FOLDER, _LEFT_BEHIND):
            if not await self._known(name.rpartition("/")[2]):
                await self.store.contents.delete(name)

    async def _known(self, id: str) -> bool:
        query = select(_FILES.c.id).where(_FILES.c.id == id)
        return await self.store.records.read(_TABLES, lambda one: one.scalar(query)) is not None


def _lasts() -> ColumnElement[bool]:
    return or_(_FILES.c.expires.is_(None), _FILES.c.expires > time.time())


def _record(row: Row[tuple[object, ...]]) -> FileRecord:
    return FileRecord(**row._mapping)
