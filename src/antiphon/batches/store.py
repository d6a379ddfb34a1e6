"""Batches as a client sees them: made, listed, cancelled, over, forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, select

from antiphon.batches import requests
from antiphon.batches.tables import BATCHES, FOLDER, SHARES, TABLES
from antiphon.storage.store import Store

LIFETIME = 24 * 3600.0
"""Seconds after which what is left of a batch expires."""
KEPT = 29 * 24 * 3600.0
"""Seconds for which a batch that is over can be asked for, from when it was made."""
_LEFT_BEHIND = 24 * 3600.0
"""Seconds after which contents that no batch names belong to nobody."""


class Counts(msgspec.Struct, kw_only=True):
    """How the requests of a batch went. Until all of it is over, all of them count as being processed."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


class Batch(msgspec.Struct, kw_only=True):
    """A batch. `owner` is the label of the key that sent it, `total` the number of its requests, and `headers` go with
    each of them. `cancelled` is when its client gave up the rest of it; all times are Unix seconds. `requests` and
    `results` are the names of contents, where there are any."""

    id: str
    owner: str
    created: float
    total: int
    headers: Mapping[str, str]
    cancelled: float | None = None
    ended: float | None = None
    requests: str | None = None
    results: str | None = None
    counts: Counts = msgspec.field(default_factory=Counts)

    @property
    def expires(self) -> float:
        """When what is left of it expires, in Unix seconds."""
        return self.created + LIFETIME

    @property
    def status(self) -> Literal["in_progress", "canceling", "ended"]:
        """How far it is, in the API's words."""
        if self.ended is not None:
            return "ended"
        return "canceling" if self.cancelled is not None else "in_progress"


class BatchStore:
    """The batches in a store. Everything raises OSError where the store does not work."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def create(self, batch: Batch, lines: Iterable[bytes]) -> Batch:
        """Keep a new batch, a line for each request: all of it or nothing."""
        shares = await self.write_requests(batch, lines)

        def work(connection: Connection) -> None:
            connection.execute(BATCHES.insert().values(row_of(batch)))
            connection.execute(SHARES.insert(), shares)

        try:
            await self.store.records.write(TABLES, work)
        except OSError:
            # What a database has done while its connection broke is not known here.
            with contextlib.suppress(OSError):
                if await self.get(batch.id, batch.owner) is None:
                    await self.store.contents.delete(batch.requests or "")
            raise
        return batch

    async def write_requests(self, batch: Batch, lines: Iterable[bytes]) -> list[dict[str, Any]]:
        """Write the requests of a new batch as contents, which it names from then on. Gives the rows of its shares, the
        one that ends it among them."""
        name, left = f"{FOLDER}/{batch.id}.requests", iter(lines)
        shares, first, start = list[dict[str, Any]](), 0, 0

        def share(count: int, end: int) -> dict[str, Any]:
            return {
                "batch": batch.id,
                "number": len(shares),
                "first": first,
                "count": count,
                "start": start,
                "end": end,
            }

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal first, start
            while lines := await asyncio.to_thread(requests.cut, left, batch.total):
                piece = b"\n".join([*lines, b""])
                shares.append(share(len(lines), start + len(piece)))
                first += len(lines)
                start += len(piece)
                yield piece

        await self.store.contents.write(name, pieces())
        batch.requests = name
        if lost := batch.total - first:
            # Of a batch that was taken over from files.
            shares.append(share(lost, start))
            first = batch.total
        return [*shares, share(0, start)]

    async def get(self, id: str, owner: str) -> Batch | None:
        """A batch of this owner, if there is one of this id."""
        query = select(BATCHES).where(BATCHES.c.id == id, BATCHES.c.owner == owner)
        row = await self.store.records.read(TABLES, lambda one: one.execute(query).first())
        return batch_of(row) if row else None

    async def all(self, owner: str) -> list[Batch]:
        """Every batch of this owner, the latest first."""
        query = select(BATCHES).where(BATCHES.c.owner == owner)
        rows = await self.store.records.read(
            TABLES, lambda one: one.execute(query.order_by(BATCHES.c.created.desc(), BATCHES.c.id.desc())).all()
        )
        return [batch_of(row) for row in rows]

    async def cancel(self, id: str) -> None:
        """Nobody wants the rest of it. The first to say so counts."""
        running = (BATCHES.c.id == id, BATCHES.c.cancelled.is_(None), BATCHES.c.ended.is_(None))
        update = BATCHES.update().where(*running).values(cancelled=time.time())
        await self.store.records.write(TABLES, lambda one: one.execute(update))

    async def delete(self, batch: Batch) -> None:
        """Forget a batch that is over."""
        delete = BATCHES.delete().where(BATCHES.c.id == batch.id)
        await self.store.records.write(TABLES, lambda one: one.execute(delete))
        if batch.results:
            await self.store.contents.delete(batch.results)

    def results(self, batch: Batch) -> AsyncGenerator[bytes, None]:
        """The lines of its answers, in pieces, to be closed."""
        return self.store.contents.read(batch.results or "")

    async def sweep(self) -> None:
        """Forget what is over and has been kept for long enough, and contents that no batch names."""
        old = select(BATCHES).where(BATCHES.c.ended.is_not(None), BATCHES.c.created < time.time() - KEPT)
        for row in await self.store.records.read(TABLES, lambda one: one.execute(old).all()):
            await self.delete(batch_of(row))
        for name in await self.store.contents.names(FOLDER, _LEFT_BEHIND):
            if not await self._named(name):
                await self.store.contents.delete(name)

    async def _named(self, name: str) -> bool:
        id = name.partition("/")[2].partition(".")[0]
        query = select(BATCHES.c.requests, BATCHES.c.results).where(BATCHES.c.id == id)
        row = await self.store.records.read(TABLES, lambda one: one.execute(query).first())
        return row is not None and name in row


def row_of(batch: Batch) -> dict[str, Any]:
    """A batch as a row of its table."""
    row = msgspec.structs.asdict(batch) | msgspec.structs.asdict(batch.counts)
    del row["counts"], row["processing"]
    return row | {"headers": msgspec.json.encode(batch.headers).decode()}


def batch_of(row: Row[Any]) -> Batch:
    """The batch in a row of its table."""
    fields = dict(row._mapping)
    counts = {name: fields.pop(name) for name in ("succeeded", "errored", "canceled", "expired")}
    headers = msgspec.json.decode(fields.pop("headers"), type=dict[str, str])
    return Batch(**fields, headers=headers, counts=Counts(**counts))
