"""Responses that are kept: by their ids, for those who made them, and for what is said after them.

A record holds the items of a request, what became of it, and the id of the response that it goes on from, so that a
chain is kept once however long it grows.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Raw
from sqlalchemy import Connection, delete, select, update

from antiphon.api.errors import BadRequest, NotFound
from antiphon.storage.store import Store
from antiphon.surfaces.content.kept_tables import KeptTables
from antiphon.surfaces.responses import sent
from antiphon.surfaces.responses.frames import frame
from antiphon.surfaces.responses.state import journal
from antiphon.surfaces.responses.state.tables import (
    RESPONSES,
    response_events,
    response_items,
    response_leases,
    responses,
)

SECONDS = 30 * 24 * 3600.0
"""So long a response is kept."""
LEASE = 30.0
"""Seconds after which a response in the background is given up that nobody says to be at work on."""
UNDONE = ("queued", "in_progress")


class KeptResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response as it is kept: its id, the one it goes on from (none: it begins a conversation), how it stands, and
    as JSON the items of its request and itself."""

    id: str
    previous: str | None
    status: str
    items: bytes
    response: bytes

    def changed(self, **fields: Any) -> bytes:
        """The response as JSON, with these fields."""
        return msgspec.json.encode({**msgspec.json.decode(self.response, type=dict[str, Raw]), **fields})

    def place(self) -> tuple[str, str, int] | None:
        """The conversation that it was made in, the id of its first item and how many items its request had; none where
        it was made in none, or has no items."""
        placed = _placed.decode(self.response)
        if placed.conversation is None or not placed.output:
            return None
        return placed.conversation.id, placed.output[0].id, len(_items.decode(self.items))


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """Responses that go on from each other: the first of them, and all their items."""

    first: KeptResponse
    items: list[Raw]


class KeptResponses:
    """The responses in a store, each for the `owner` whose key made it. Raises NotKept where the store does not work,
    and NotFound where there is none."""

    def __init__(self, store: Store | None) -> None:
        self._tables = KeptTables(store, RESPONSES)

    @property
    def available(self) -> bool:
        """Whether responses can be kept."""
        return self._tables.available

    async def keep(self, response: KeptResponse, owner: str) -> None:
        """Keep a response, in place of what was kept under its id. What has been kept for too long is forgotten."""
        now = time.time()

        def work(connection: Connection) -> None:
            _sweep(connection, now - SECONDS)
            _forget(connection, response.id)
            row = {**msgspec.structs.asdict(response), "owner": owner, "created": now}
            connection.execute(responses.insert().values(**row))
            if response.status in UNDONE:
                connection.execute(response_leases.insert().values(response=response.id, until=now + LEASE))
            _name(connection, response.id, owner, now, response.response)

        await self._tables.write(work)

    async def find(self, id: str, owner: str) -> KeptResponse:
        """A response. Raises NotFound."""

        def look(connection: Connection) -> tuple[KeptResponse | None, bool]:
            response = _find(connection, id, owner)
            return response, _abandoned(connection, response)

        response, abandoned = await self._tables.read(look)
        if abandoned:
            response = await self._tables.write(lambda connection: _give_up(connection, id, owner))
        if response is None:
            raise NotFound(f"Response with id '{id[:100]}' not found.", code="response_not_found")
        return response

    async def forget(self, id: str, owner: str) -> None:
        """Forget a response. Raises NotFound."""
        await self.find(id, owner)
        await self._tables.write(lambda connection: _forget(connection, id))

    async def settle(self, id: str, status: str, response: bytes, *, first: int = 0, frames: bytes = b"") -> None:
        """How a response ended, unless it had ended already; and the last `frames` that were told of it, from this
        number on."""
        await self._tables.write(lambda one: _settle(one, id, status, response, first=first, frames=frames))

    async def renew(self, id: str, first: int, frames: bytes) -> str | None:
        """Say that a response is still being made, and keep what was told of it meanwhile; how it stands, none where it
        was forgotten."""

        def work(connection: Connection) -> str | None:
            mine = select(responses.c.status).where(responses.c.id == id)
            status: str | None = connection.scalar(mine.with_for_update())
            if status in UNDONE:
                lease = update(response_leases).where(response_leases.c.response == id)
                connection.execute(lease.values(until=time.time() + LEASE))
                journal.append(connection, id, first, frames)
            return status

        return await self._tables.write(work)

    async def frames_since(self, id: str, number: int) -> bytes:
        """The frames with at least this number that were told of a response in the background."""
        return await self._tables.read(lambda connection: journal.since(connection, id, number))

    async def items(self, ids: list[str], owner: str) -> dict[str, Raw]:
        """The items with these ids, as far as they are kept."""
        mine = response_items.c.id.in_(ids) & (response_items.c.owner == owner)
        query = select(responses.c.response).where(responses.c.id.in_(select(response_items.c.response).where(mine)))
        rows = await self._tables.read(lambda connection: connection.execute(query).scalars().all())
        items = {_id.decode(item).id: item for row in rows for item in _output.decode(row).output}
        return {id: items[id] for id in ids if id in items}

    async def chain(self, id: str, owner: str) -> Chain:
        """The responses up to this one. Raises BadRequest for a response that is not kept."""

        def work(connection: Connection) -> list[KeptResponse] | None:
            links: list[KeptResponse] = []
            link_id: str | None = id
            while link_id is not None:
                if (response := _find(connection, link_id, owner)) is None:
                    return None
                links.append(response)
                link_id = response.previous
            return links

        links = await self._tables.read(work)
        if links is None:
            raise BadRequest(
                f"previous_response_id: Previous response with id '{id[:100]}' not found.",
                code="previous_response_not_found",
            )
        for link in links:
            if link.status in UNDONE and (await self.find(link.id, owner)).status in UNDONE:
                raise BadRequest(f"previous_response_id: the response '{id[:100]}' is not complete yet")
        items: list[Raw] = []
        for link in reversed(links):
            items += _items.decode(link.items)
            items += _output.decode(link.response).output
        return Chain(first=links[-1], items=items)


class _Output(msgspec.Struct):
    output: list[Raw]


class _Item(msgspec.Struct):
    id: str


class _Placed(msgspec.Struct):
    output: list[_Item]
    conversation: sent.Conversation | None = None


_id = msgspec.json.Decoder(_Item)
_placed = msgspec.json.Decoder(_Placed)
_items = msgspec.json.Decoder(list[Raw])
_output = msgspec.json.Decoder(_Output)
_COLUMNS = [responses.c[name] for name in KeptResponse.__struct_fields__]

# What a program is told whose response died with its maker.
_GONE = sent.Failed(
    "server_error", "the server that made the response stopped before it was done; send the request again"
)


def _find(connection: Connection, id: str, owner: str, *, lock: bool = False) -> KeptResponse | None:
    query = select(*_COLUMNS).where((responses.c.id == id) & (responses.c.owner == owner))
    row = connection.execute(query.with_for_update() if lock else query).first()
    return KeptResponse(**row._mapping) if row is not None else None


def _abandoned(connection: Connection, response: KeptResponse | None) -> bool:
    """Whether nobody makes the response any more, though it has not come to its end."""
    if response is None or response.status not in UNDONE:
        return False
    until = connection.scalar(select(response_leases.c.until).where(response_leases.c.response == response.id))
    return until is None or until < time.time()


def _give_up(connection: Connection, id: str, owner: str) -> KeptResponse | None:
    """The response, which has failed if nobody makes it any more."""
    response = _find(connection, id, owner, lock=True)
    if response is None or not _abandoned(connection, response):
        return response
    failed, number = response.changed(status="failed", error=_GONE), journal.length(connection, id)
    last = frame("response.failed", {"response": Raw(failed)}, number)
    _settle(connection, id, "failed", failed, first=number, frames=last)
    return _find(connection, id, owner)


def _settle(connection: Connection, id: str, status: str, response: bytes, *, first: int, frames: bytes) -> None:
    mine = (responses.c.id == id) & responses.c.status.in_(UNDONE)
    owner = connection.scalar(select(responses.c.owner).where(mine).with_for_update())
    if owner is None:
        return
    connection.execute(update(responses).where(mine).values(status=status, response=response))
    connection.execute(delete(response_leases).where(response_leases.c.response == id))
    _name(connection, id, owner, time.time(), response)
    journal.append(connection, id, first, frames)


def _name(connection: Connection, id: str, owner: str, created: float, response: bytes) -> None:
    """Have the items of a response found by their ids."""
    named = [_id.decode(item).id for item in _output.decode(response).output]
    if named:
        rows = [{"id": each, "owner": owner, "created": created, "response": id} for each in named]
        connection.execute(response_items.insert(), rows)


def _forget(connection: Connection, id: str) -> None:
    connection.execute(delete(responses).where(responses.c.id == id))
    for table in (response_items, response_leases, response_events):
        connection.execute(delete(table).where(table.c.response == id))


def _sweep(connection: Connection, before: float) -> None:
    """Forget all responses from before then."""
    for id in connection.scalars(select(responses.c.id).where(responses.c.created < before)).all():
        _forget(connection, id)
