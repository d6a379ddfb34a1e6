"""A request's bytes → what it asks for, with all that it names: what it goes on from, items that are kept, the tools of
MCP servers, what lies at an address.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import Raw

from antiphon.api.offload import LARGE, offload
from antiphon.api.seal import Seal
from antiphon.server_tools.registry import ServerTools
from antiphon.serving.service import Service
from antiphon.surfaces.content import remote
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type, tell_ignored
from antiphon.surfaces.openai.functions import raw_bytes
from antiphon.surfaces.responses.request import decode, input_items
from antiphon.surfaces.responses.state.conversations import Conversations
from antiphon.surfaces.responses.state.response_store import KeptResponses
from antiphon.surfaces.responses.tools.approvals import is_read_only, needs_approval
from antiphon.surfaces.surface import Options


class RequestReader:
    """Reads requests."""

    def __init__(
        self, service: Service, options: Options, seal: Seal, responses: KeptResponses, conversations: Conversations
    ) -> None:
        self._service = service
        self._options = options
        self._seal = seal
        self._responses = responses
        self._conversations = conversations

    async def read(self, exchange: Exchange) -> tuple[decode.Draft, decode.DecodedRequest]:
        """The request of an exchange. Raises BadRequest and NotFound."""
        check_media_type(exchange)
        body = await exchange.body(self._options.max_body)
        # A PDF takes its time, however short it is.
        large = len(body) > LARGE or b'"input_file"' in body
        offered = self._options.server_tools.for_key(exchange.watch.key)
        draft = await offload(large, partial(decode.read, body, offered))
        await self._go_on(draft, exchange.watch.key)
        await _ask(draft, offered, exchange.watch.key)
        card = self._service.card(draft.request.model)
        addresses = decode.remote_addresses(draft, card)
        fetched = await remote.fetch(addresses, allow_private=self._options.allow_private_urls)
        decoded = await offload(large, partial(decode.decode, draft, card, self._seal, fetched))
        tell_ignored(exchange, decoded.ignored)
        return draft, decoded

    async def _go_on(self, draft: decode.Draft, owner: str) -> None:
        """Put in what the request goes on from, and the items that it refers to."""
        if previous := draft.request.previous_response_id:
            chain = await self._responses.chain(previous, owner)
            # The first may have been made in a conversation, where something had been said before.
            before: list[Raw] = []
            if place := chain.first.place():
                id, item, count = place
                before = await self._conversations.before(id, owner, item, count)
            decode.go_on(draft, "previous_response_id", [*before, *chain.items])
        if draft.conversation:
            decode.go_on(draft, "conversation", await self._conversations.items(draft.conversation, owner))
        if (ids := decode.references(draft)) and self._responses.available:
            decode.resolve(draft, await self._responses.items(ids, owner))


async def _ask(draft: decode.Draft, offered: ServerTools, key: str) -> None:
    """Ask the MCP servers that a request names for their tools. What was told of one before holds for the whole
    conversation."""
    servers = {each.label: each for each in draft.box.servers}
    if offered.connector is None or not servers:
        return
    known = _known_lists(draft)
    entries = [(each.where, each.entry) for each in servers.values() if each.entry is not None]
    toolsets = [
        (each.where, {**each.toolset, "tools": known[label]} if label in known else each.toolset)
        for label, each in servers.items()
    ]
    taken = [*draft.box.tools, *draft.box.deferred]
    listing = await offered.connector.declared(entries, toolsets, taken, offered.bounds.seconds, key)
    for declared in listing.declared:
        server = servers[declared.use["server_name"]]
        if needs_approval(server.require_approval, declared, server.where):
            draft.box.guard(declared)
        else:
            draft.box.serve(declared, "tools")
        if server.label not in known:
            draft.box.lists.setdefault(server.label, []).append(declared)


def _known_lists(draft: decode.Draft) -> dict[str, list[dict[str, Any]]]:
    """The tools of each MCP server that was told of before."""
    lists = [item for _, _, item in draft.items if isinstance(item, input_items.ToolList) and not raw_bytes(item.error)]
    return {
        each.server_label: [{**tool, "read_only": is_read_only(tool)} for tool in each.tools or ()] for each in lists
    }
