"""Conversations that are kept: items in their order, which responses go on from and add to.

Unlike responses they are kept until their owner deletes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw
from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)

from antiphon.api.errors import NotFound
from antiphon.storage.records import TableSet
from antiphon.storage.store import Store
from antiphon.surfaces.content.kept_tables import KeptTables
from antiphon.surfaces.responses.state.listing import typed

T = TypeVar("T")

_metadata = MetaData()
_conversations = Table(
    "conversations",
    _metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("metadata", LargeBinary, nullable=False),
)
_items = Table(
    "conversation_items",
    _metadata,
    Column("conversation", Text, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("id", Text, nullable=False),
    Column("item", LargeBinary, nullable=False),
)
CONVERSATIONS = TableSet(name="conversations", version=1, tables=_metadata)
_PREFIXES = {"message": "msg_", "reasoning": "rs_", "compaction": "cmp_"}

Fields = dict[str, Any]
_fields = msgspec.json.Decoder(Fields)


class KeptConversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation: its id, when it was made, in Unix seconds, and its metadata as JSON."""

    id: str
    created: float
    metadata: bytes


class Conversations:
    """The conversations in a store, each for the `owner` whose key made it. Raises NotKept where the store does not
    work, and NotFound where there is no store, or no such conversation or item."""

    def __init__(self, store: Store | None, new_id: Callable[[str], str]) -> None:
        self._tables = KeptTables(store, CONVERSATIONS)
        self._new_id = new_id

    async def create(self, owner: str, created: float, metadata: bytes, items: Sequence[Raw]) -> KeptConversation:
        """A new conversation that begins with these items."""
        conversation = KeptConversation(id=self._new_id("conv_"), created=created, metadata=metadata)

        def work(connection: Connection) -> None:
            connection.execute(_conversations.insert().values(**msgspec.structs.asdict(conversation), owner=owner))
            self._append(connection, conversation.id, items)

        await self._tables.write(work)
        return conversation

    async def find(self, id: str, owner: str) -> KeptConversation:
        """A conversation."""
        return await self._tables.read(lambda connection: _find(connection, id, owner))

    async def describe(self, id: str, owner: str, metadata: bytes) -> KeptConversation:
        """The conversation with other metadata."""

        def work(connection: Connection) -> KeptConversation:
            _find(connection, id, owner)
            connection.execute(update(_conversations).where(_conversations.c.id == id).values(metadata=metadata))
            return _find(connection, id, owner)

        return await self._tables.write(work)

    async def delete(self, id: str, owner: str) -> None:
        """Delete a conversation and its items; responses are kept for as long as they are."""

        def work(connection: Connection) -> None:
            _find(connection, id, owner)
            connection.execute(delete(_items).where(_items.c.conversation == id))
            connection.execute(delete(_conversations).where(_conversations.c.id == id))

        await self._tables.write(work)

    async def items(self, id: str, owner: str) -> list[Raw]:
        """All items of a conversation, in their order."""

        def work(connection: Connection) -> list[Raw]:
            _find(connection, id, owner)
            mine = select(_items.c.item).where(_items.c.conversation == id).order_by(_items.c.place)
            return [Raw(item) for item in connection.scalars(mine)]

        return await self._tables.read(work)

    async def before(self, id: str, owner: str, item: str, count: int) -> list[Raw]:
        """The items that stood there when `count` items were added and then this one; none where they are gone."""

        def work(connection: Connection) -> list[Raw]:
            _find(connection, id, owner)
            mine = _items.c.conversation == id
            place = connection.scalar(select(_items.c.place).where(mine & (_items.c.id == item)))
            if place is None:
                return []
            before = select(_items.c.item).where(mine & (_items.c.place < place - count)).order_by(_items.c.place)
            return [Raw(each) for each in connection.scalars(before)]

        try:
            return await self._tables.read(work)
        except NotFound:
            return []

    async def add(self, id: str, owner: str, items: Sequence[Raw]) -> list[Fields]:
        """Add items at the end. Those without an id, or with one that is taken, get a new one."""

        def work(connection: Connection) -> list[Fields]:
            # One after the other: each is placed behind those that are there.
            _find(connection, id, owner, lock=True)
            return self._append(connection, id, items)

        return await self._tables.write(work)

    async def item(self, id: str, owner: str, item: str) -> Fields:
        """One item."""

        def work(connection: Connection) -> bytes | None:
            _find(connection, id, owner)
            mine = (_items.c.conversation == id) & (_items.c.id == item)
            return connection.scalar(select(_items.c.item).where(mine))

        content = await self._tables.read(work)
        if content is None:
            raise _no_item(item)
        return _fields.decode(content)

    async def delete_item(self, id: str, owner: str, item: str) -> KeptConversation:
        """The conversation without an item."""

        def work(connection: Connection) -> KeptConversation:
            conversation = _find(connection, id, owner)
            if not connection.execute(delete(_items).where(_items.c.conversation == id, _items.c.id == item)).rowcount:
                raise _no_item(item)
            return conversation

        return await self._tables.write(work)

    def _append(self, connection: Connection, id: str, items: Sequence[Raw]) -> list[Fields]:
        mine = _items.c.conversation == id
        taken = set(connection.scalars(select(_items.c.id).where(mine)))
        place = connection.scalar(select(func.coalesce(func.max(_items.c.place), -1)).where(mine)) or 0
        added = []
        for item in items:
            fields = typed(_fields.decode(item))
            if not isinstance(fields.get("id"), str) or fields["id"] in taken:
                fields["id"] = self._new_id(_PREFIXES.get(fields["type"], "item_"))
            taken.add(fields["id"])
            added.append(fields)
        rows = [
            {"conversation": id, "place": place + 1 + offset, "id": each["id"], "item": msgspec.json.encode(each)}
            for offset, each in enumerate(added)
        ]
        if rows:
            connection.execute(_items.insert(), rows)
        return added


def _find(connection: Connection, id: str, owner: str, *, lock: bool = False) -> KeptConversation:
    columns = [_conversations.c[name] for name in KeptConversation.__struct_fields__]
    mine = (_conversations.c.id == id) & (_conversations.c.owner == owner)
    query = select(*columns).where(mine)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound(f"Conversation with id '{id[:100]}' not found.", code="conversation_not_found")
    return KeptConversation(**row._mapping)


def _no_item(id: str) -> NotFound:
    return NotFound(f"Item with id '{id[:100]}' not found in the conversation.", code="item_not_found")
