"""Responses that are kept: by their ids, for those who made them, and for what is said after them.

A record holds the items of a request, what became of it, and the id of the response that it goes on from, so that a
chain is kept once however long it grows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Raw
from sqlalchemy import Column, Connection, Float, Index, LargeBinary, MetaData, Table, Text, delete, select, update

from antiphon.api.errors import BadRequest, NotFound, NotKept
from antiphon.storage.records import Records, TableSet
from antiphon.storage.store import Store

T = TypeVar("T")

SECONDS = 30 * 24 * 3600.0
"""So long a response is kept."""
MOST_LINKS = 1000
"""Responses of one chain. A longer conversation has left every window."""

_metadata = MetaData()
_responses = Table(
    "responses",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("previous", Text),
    Column("status", Text, nullable=False),
    Column("items", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Index("responses_created", "created"),
)
_named = Table(
    "response_items",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("response", Text, nullable=False),
    Index("response_items_created", "created"),
    Index("response_items_response", "response"),
)
"""In which response an item is that may be referred to."""
TABLES = TableSet(name="responses", version=1, tables=_metadata)


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as it is kept: its id, the one it goes on from (none: it begins a conversation), how it stands, and
    as JSON the items of its request and itself."""

    id: str
    previous: str | None
    status: str
    items: bytes
    response: bytes


class KeptResponses:
    """The responses in a store, each for the `owner` whose key made it. Raises NotKept where the store does not work,
    and NotFound where there is none."""

    def __init__(self, store: Store | None) -> None:
        self._store = store

    @property
    def available(self) -> bool:
        """Whether responses can be kept."""
        return self._store is not None

    async def keep(self, kept: KeptResponse, owner: str) -> None:
        """Keep a response, in place of what was kept under its id. What has been kept for too long is forgotten."""
        now = time.time()

        def work(connection: Connection) -> None:
            for table in (_responses, _named):
                connection.execute(delete(table).where(table.c.created < now - SECONDS))
            _forget(connection, kept.id)
            row = {**msgspec.structs.asdict(kept), "owner": owner, "created": now}
            connection.execute(_responses.insert().values(**row))
            _name(connection, kept.id, owner, now, kept.response)

        await self._write(work)

    async def find(self, id: str, owner: str) -> KeptResponse:
        """A response. Raises NotFound."""

        def work(connection: Connection) -> KeptResponse | None:
            return _found(connection, id, owner)

        kept = await self._read(work)
        if kept is None:
            raise NotFound(f"Response with id '{id[:100]}' not found.", code="response_not_found")
        return kept

    async def forget(self, id: str, owner: str) -> None:
        """Forget a response. Raises NotFound."""
        await self.find(id, owner)
        await self._write(lambda connection: _forget(connection, id))

    async def settle(self, id: str, status: str, response: bytes, *, unless: str) -> None:
        """How a response stands now, `unless` it stands otherwise already."""
        mine = (_responses.c.id == id) & (_responses.c.status != unless)
        change = update(_responses).where(mine).values(status=status, response=response)

        def work(connection: Connection) -> None:
            owner = connection.scalar(select(_responses.c.owner).where(mine))
            if owner is not None:
                connection.execute(change)
                _name(connection, id, owner, time.time(), response)

        await self._write(work)

    async def items(self, ids: list[str], owner: str) -> dict[str, Raw]:
        """The items with these ids, as far as they are kept."""
        mine = _named.c.id.in_(ids) & (_named.c.owner == owner)
        query = select(_responses.c.response).where(_responses.c.id.in_(select(_named.c.response).where(mine)))
        rows = await self._read(lambda connection: connection.execute(query).scalars().all())
        found = {_id.decode(item).id: item for row in rows for item in _output.decode(row).output}
        return {id: found[id] for id in ids if id in found}

    async def chain(self, id: str, owner: str) -> list[Raw]:
        """The items of a whole conversation up to a response, this one's among them. Raises BadRequest for a response
        that is not kept."""

        def work(connection: Connection) -> list[KeptResponse] | None:
            links: list[KeptResponse] = []
            at: str | None = id
            while at is not None and len(links) < MOST_LINKS:
                if (kept := _found(connection, at, owner)) is None:
                    return None
                links.append(kept)
                at = kept.previous
            return links

        links = await self._read(work)
        if links is None:
            raise BadRequest(
                f"previous_response_id: Previous response with id '{id[:100]}' not found.",
                code="previous_response_not_found",
            )
        if any(link.status in ("queued", "in_progress") for link in links):
            raise BadRequest(f"previous_response_id: the response '{id[:100]}' has not come to its end")
        items: list[Raw] = []
        for link in reversed(links):
            items += _items.decode(link.items)
            items += _output.decode(link.response).output
        return items

    async def _read(self, work: Callable[[Connection], T]) -> T:
        records = self._records()
        try:
            return await records.read(TABLES, work)
        except OSError as error:
            raise NotKept(f"responses cannot be read from {records.place}: {error}") from error

    async def _write(self, work: Callable[[Connection], object]) -> None:
        records = self._records()
        try:
            await records.write(TABLES, work)
        except OSError as error:
            raise NotKept(f"responses cannot be kept in {records.place}: {error}") from error

    def _records(self) -> Records:
        if self._store is None:
            raise NotFound("this server keeps no responses", code="response_not_found")
        return self._store.records


class _Output(msgspec.Struct):
    output: list[Raw]


class _Item(msgspec.Struct):
    id: str


_id = msgspec.json.Decoder(_Item)
_items = msgspec.json.Decoder(list[Raw])
_output = msgspec.json.Decoder(_Output)
_COLUMNS = [_responses.c[name] for name in KeptResponse.__struct_fields__]


def _found(connection: Connection, id: str, owner: str) -> KeptResponse | None:
    mine = (_responses.c.id == id) & (_responses.c.owner == owner)
    row = connection.execute(select(*_COLUMNS).where(mine)).first()
    return KeptResponse(**row._mapping) if row is not None else None


def _name(connection: Connection, id: str, owner: str, created: float, response: bytes) -> None:
    """Have the items of a response found by their ids."""
    named = [_id.decode(item).id for item in _output.decode(response).output]
    if named:
        rows = [{"id": each, "owner": owner, "created": created, "response": id} for each in named]
        connection.execute(_named.insert(), rows)


def _forget(connection: Connection, id: str) -> None:
    connection.execute(delete(_responses).where(_responses.c.id == id))
    connection.execute(delete(_named).where(_named.c.response == id))
