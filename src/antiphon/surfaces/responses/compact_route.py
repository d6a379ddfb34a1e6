"""POST /v1/responses/compact: a conversation in short, for programs that go on from it in place of the whole.

The model summarises what the request would have it answer. The answer has what the user said as it was sent, and the
summary sealed in one item; both come back as the beginning of a later request's input.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from antiphon.api.context_management import Compact
from antiphon.api.errors import BadRequest, Internal
from antiphon.api.reply import TextBlock
from antiphon.api.seal import Seal
from antiphon.serving.service import Service
from antiphon.surfaces.http import sse
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.responses import sent
from antiphon.surfaces.responses.compaction import Summary, opened
from antiphon.surfaces.responses.reply import usage_sent
from antiphon.surfaces.responses.request import decode, input_items, wire
from antiphon.surfaces.responses.request.reader import RequestReader
from antiphon.surfaces.responses.state.listing import listed
from antiphon.surfaces.surface import Operation, Options, Route


class Compacted(msgspec.Struct, kw_only=True):
    """What stands for a conversation: what its user said, and one item with all the rest in short."""

    id: str
    object: str = "response.compaction"
    created_at: int
    output: list[sent.Item]
    usage: sent.Usage


class Compacting:
    """The route."""

    def __init__(self, service: Service, reader: RequestReader, seal: Seal, options: Options) -> None:
        self._service = service
        self._reader = reader
        self._seal = seal
        self._options = options

    def route(self) -> Route:
        """Itself."""
        return Route(method="POST", path="/responses/compact", answer=self._compact, operation=_COMPACT)

    async def _compact(self, exchange: Exchange) -> None:
        draft, decoded = await self._reader.read(exchange)
        exchange.facts |= {"model": draft.request.model, "stream": False}
        params = replace(decoded.generation, edits=(Compact(on_demand=True, pause=True),))
        summary = await self._service.compaction(draft.request.model, decoded.conversation, params)
        if summary is None:
            raise BadRequest("there is no conversation to compact: send it as `input`")
        prepared = await self._service.prepare(draft.request.model, summary.conversation, summary.params)
        reply = await sse.whole(exchange, exchange.charge.making(partial(self._service.run, prepared)))
        text = "".join(block.text for block in reply.blocks if isinstance(block, TextBlock)).strip()
        if not text:
            raise Internal("the model wrote no summary; send the request again")
        new_id = self._options.new_id
        sealed = Summary(text=text, whole=False).sealed(self._seal)
        item = {"type": "compaction", "id": new_id("cmp_"), "encrypted_content": sealed}
        compacted = Compacted(
            id=new_id("resp_"),
            created_at=int(self._options.clock()),
            output=[*self._user_messages(draft), item],
            usage=usage_sent(reply.usage),
        )
        await exchange.reply(200, msgspec.json.encode(compacted))

    def _user_messages(self, draft: decode.Draft) -> list[dict[str, Any]]:
        """The messages of the user that no summary stands for, each with an id."""
        messages: list[dict[str, Any]] = []
        for raw in (*draft.earlier, *msgspec.json.decode(decode.own_items(draft), type=list[Raw])):
            _, item = input_items.item(raw, "input")
            if isinstance(item, input_items.Message) and item.role == "user":
                message = msgspec.json.decode(raw)
                messages.append(listed({**message, "id": message.get("id") or self._options.new_id("msg_")}))
            elif isinstance(item, input_items.Compaction):
                summary = opened(item.encrypted_content or "", self._seal)
                messages = [] if summary and summary.whole else messages
        return messages


_COMPACT = Operation(
    summary="Summarise a conversation",
    description="What comes back is the beginning of a later request's `input`: "
    "the user's messages, and the summary sealed in a `compaction` item.",
    body=wire.Request,
    replies={"application/json": Compacted},
)
