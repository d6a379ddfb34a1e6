"""What can be done with a conversation: make it, look at it and its items, add to it, describe it, delete it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type
from antiphon.surfaces.responses import sent
from antiphon.surfaces.responses.request import input_items
from antiphon.surfaces.responses.state.conversations import Conversations, KeptConversation
from antiphon.surfaces.responses.state.listing import PAGING, ItemList, listed, page, whole_list
from antiphon.surfaces.surface import Operation, Options, Parameter, Route

Items = list[Annotated[Raw, Meta(extra_json_schema={"$ref": "Item"})]]


class Created(msgspec.Struct):
    """What a conversation begins with."""

    items: Items | None = None
    metadata: dict[str, str] | None = None


class Described(msgspec.Struct):
    """The metadata of a conversation, in place of what it had."""

    metadata: dict[str, str] | None


class Added(msgspec.Struct):
    """Further items."""

    items: Items


class Conversation(msgspec.Struct, kw_only=True):
    """A conversation."""

    id: str
    object: str = "conversation"
    created_at: int
    metadata: Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class Deleted(msgspec.Struct, kw_only=True):
    """A conversation was deleted."""

    id: str
    object: str = "conversation.deleted"
    deleted: bool = True


_created = msgspec.json.Decoder(Created)
_described = msgspec.json.Decoder(Described)
_added = msgspec.json.Decoder(Added)


class ConversationRoutes:
    """The routes of conversations."""

    def __init__(self, conversations: Conversations, options: Options) -> None:
        self._conversations = conversations
        self._options = options

    def routes(self) -> list[Route]:
        """All of them."""
        one, items, item = "/conversations/*", "/conversations/*/items", "/conversations/*/items/*"
        return [
            Route(method="POST", path="/conversations", answer=self._create, operation=_CREATE),
            Route(method="GET", path=one, answer=self._retrieve, operation=_RETRIEVE),
            Route(method="POST", path=one, answer=self._describe, operation=_DESCRIBE),
            Route(method="DELETE", path=one, answer=self._delete, operation=_DELETE),
            Route(method="GET", path=items, answer=self._list, operation=_LIST),
            Route(method="POST", path=items, answer=self._add, operation=_ADD),
            Route(method="GET", path=item, answer=self._item, operation=_ITEM),
            Route(method="DELETE", path=item, answer=self._delete_item, operation=_DELETE_ITEM),
        ]

    async def _create(self, exchange: Exchange) -> None:
        created, _ = json_body.read(await self._body(exchange) or b"{}", _created)
        metadata = msgspec.json.encode(created.metadata or {})
        items, now = _checked(created.items or []), self._options.clock()
        conversation = await self._conversations.create(exchange.watch.key, now, metadata, items)
        await exchange.reply(200, _encoded(conversation))

    async def _retrieve(self, exchange: Exchange) -> None:
        await exchange.reply(200, _encoded(await self._conversations.find(exchange.rest, exchange.watch.key)))

    async def _describe(self, exchange: Exchange) -> None:
        described, _ = json_body.read(await self._body(exchange), _described)
        metadata = msgspec.json.encode(described.metadata or {})
        await exchange.reply(
            200, _encoded(await self._conversations.describe(exchange.rest, exchange.watch.key, metadata))
        )

    async def _delete(self, exchange: Exchange) -> None:
        await self._conversations.delete(exchange.rest, exchange.watch.key)
        await exchange.reply(200, msgspec.json.encode(Deleted(id=exchange.rest)))

    async def _list(self, exchange: Exchange) -> None:
        items = await self._conversations.items(exchange.rest, exchange.watch.key)
        told = [listed(msgspec.json.decode(item)) for item in items]
        await exchange.reply(200, msgspec.json.encode(page(told, exchange.query)))

    async def _add(self, exchange: Exchange) -> None:
        added, _ = json_body.read(await self._body(exchange), _added)
        items = await self._conversations.add(exchange.rest, exchange.watch.key, _checked(added.items))
        await exchange.reply(200, msgspec.json.encode(whole_list([listed(item) for item in items])))

    async def _item(self, exchange: Exchange) -> None:
        id, item = exchange.wildcards
        found = await self._conversations.item(id, exchange.watch.key, item)
        await exchange.reply(200, msgspec.json.encode(listed(found)))

    async def _delete_item(self, exchange: Exchange) -> None:
        id, item = exchange.wildcards
        await exchange.reply(200, _encoded(await self._conversations.delete_item(id, exchange.watch.key, item)))

    async def _body(self, exchange: Exchange) -> bytes:
        check_media_type(exchange)
        return await exchange.body(self._options.max_body)


def _checked(items: list[Raw]) -> list[Raw]:
    """The items, if each can be read. Raises BadRequest."""
    for index, item in enumerate(items):
        if isinstance(input_items.item(item, f"items.{index}")[1], input_items.Reference):
            raise BadRequest(f"items.{index}.type: a reference cannot be kept; send the item itself")
    return items


def _encoded(conversation: KeptConversation) -> bytes:
    created = int(conversation.created)
    return msgspec.json.encode(
        Conversation(id=conversation.id, created_at=created, metadata=Raw(conversation.metadata))
    )


_ID = Parameter("conversation_id", "path", "The id of the conversation.", required=True)
_ITEM_ID = Parameter("item_id", "path", "The id of the item.", required=True)
_ONE: dict[str, Any] = {"parameters": (_ID,), "rest": "conversation_id"}
_OF_ITEM: dict[str, Any] = {"parameters": (_ID, _ITEM_ID), "rest": "conversation_id/item_id"}
_CONVERSATION = {"application/json": Conversation}
_ITEMS = {"application/json": ItemList}
_CREATE = Operation(summary="Create a conversation", body=Created, replies=_CONVERSATION)
_RETRIEVE = Operation(summary="Retrieve a conversation", replies=_CONVERSATION, **_ONE)
_DESCRIBE = Operation(summary="Change the metadata of a conversation", body=Described, replies=_CONVERSATION, **_ONE)
_DELETE = Operation(summary="Delete a conversation", replies={"application/json": Deleted}, **_ONE)
_LIST = Operation(
    summary="List the items of a conversation", replies=_ITEMS, parameters=(_ID, *PAGING), rest="conversation_id"
)
_ADD = Operation(summary="Add items to a conversation", body=Added, replies=_ITEMS, **_ONE)
_ITEM = Operation(summary="Retrieve an item of a conversation", replies={"application/json": sent.Item}, **_OF_ITEM)
_DELETE_ITEM = Operation(summary="Delete an item of a conversation", replies=_CONVERSATION, **_OF_ITEM)
