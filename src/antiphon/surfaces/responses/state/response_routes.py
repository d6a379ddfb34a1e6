"""What can be done with a response that is kept: look at it, at the items of its request, give it up, forget it."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.responses import sent
from antiphon.surfaces.responses.state.background import Background
from antiphon.surfaces.responses.state.listing import PAGING, ItemList, listed, page
from antiphon.surfaces.responses.state.response_store import UNDONE, KeptResponse, KeptResponses
from antiphon.surfaces.responses.streaming import relay
from antiphon.surfaces.surface import Operation, Parameter, Route


class Deleted(msgspec.Struct, kw_only=True):
    """A response was forgotten."""

    id: str
    object: str = "response"
    deleted: bool = True


class ResponseRoutes:
    """The routes of kept responses."""

    def __init__(self, responses: KeptResponses, background: Background, ping_interval: float) -> None:
        self._responses = responses
        self._background = background
        self._ping_interval = ping_interval

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route(method="GET", path="/responses/*", answer=self._retrieve, operation=_RETRIEVE),
            Route(method="DELETE", path="/responses/*", answer=self._delete, operation=_DELETE),
            Route(method="POST", path="/responses/*/cancel", answer=self._cancel, operation=_CANCEL),
            Route(method="GET", path="/responses/*/input_items", answer=self._items, operation=_ITEMS),
        ]

    async def _retrieve(self, exchange: Exchange) -> None:
        response = await self._find(exchange)
        if exchange.query.get("stream") != "true":
            await exchange.reply(200, response.response)
            return
        if not _in_background(response):
            raise BadRequest(_NO_STREAM, code="invalid_request_error")
        number = _starting_after(exchange) + 1
        frames = self._background.follow(response.id, exchange.watch.key, number)
        await relay(exchange, frames, number, interval=self._ping_interval)

    async def _delete(self, exchange: Exchange) -> None:
        await self._responses.forget(exchange.rest, exchange.watch.key)
        await exchange.reply(200, msgspec.json.encode(Deleted(id=exchange.rest)))

    async def _cancel(self, exchange: Exchange) -> None:
        response = await self._find(exchange)
        if not _in_background(response):
            raise BadRequest("response_id: only a response that is made in the background can be cancelled")
        if response.status in UNDONE:
            await self._responses.settle(response.id, "cancelled", response.changed(status="cancelled"))
            response = await self._find(exchange)
        await exchange.reply(200, response.response)

    async def _items(self, exchange: Exchange) -> None:
        response = await self._find(exchange)
        await exchange.reply(200, msgspec.json.encode(page(_listed(response), exchange.query)))

    async def _find(self, exchange: Exchange) -> KeptResponse:
        return await self._responses.find(exchange.rest, exchange.watch.key)


# In the API's own words.
_NO_STREAM = "stream: This response cannot be streamed because it was not created with background=true."


class _Background(msgspec.Struct):
    background: bool = False


def _in_background(response: KeptResponse) -> bool:
    return msgspec.json.decode(response.response, type=_Background).background


def _starting_after(exchange: Exchange) -> int:
    """The number of the last frame that the client has; -1: it has none."""
    written = exchange.query.get("starting_after")
    if written is None:
        return -1
    if not written.isdecimal() or len(written) > 9:
        raise BadRequest("starting_after: Input should be a valid integer, the sequence_number of an event")
    return int(written)


def _listed(response: KeptResponse) -> list[dict[str, Any]]:
    items = msgspec.json.decode(response.items, type=list[dict[str, Any]])
    name = response.id.removeprefix("resp_")
    return [listed({**item, "id": item.get("id") or f"item_{name}_{place}"}) for place, item in enumerate(items)]


_ID = Parameter("response_id", "path", "The id of the response.", required=True)
_RESPONSE = {"application/json": sent.Response}
_RETRIEVE = Operation(
    summary="Retrieve a response",
    description="A response that is or was made in the background can be read again as a stream.",
    replies={**_RESPONSE, "text/event-stream": sent.Event},
    parameters=(
        _ID,
        Parameter("stream", "query", "`true` asks for a stream."),
        Parameter("starting_after", "query", "The `sequence_number` of the event to begin after."),
    ),
    rest="response_id",
)
_DELETE = Operation(
    summary="Delete a response", replies={"application/json": Deleted}, parameters=(_ID,), rest="response_id"
)
_CANCEL = Operation(
    summary="Cancel a response that is made in the background",
    replies=_RESPONSE,
    parameters=(_ID,),
    rest="response_id",
)
_ITEMS = Operation(
    summary="List the items of a response's request",
    replies={"application/json": ItemList},
    parameters=(_ID, *PAGING),
    rest="response_id",
)
