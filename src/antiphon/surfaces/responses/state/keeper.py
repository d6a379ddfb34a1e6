"""What is kept of one request and its response: the response itself, and both in the conversation they belong to."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from antiphon.api.errors import NotFound, NotKept
from antiphon.api.events import AnyEvent, Emit, Finished, Run
from antiphon.surfaces.responses import sent
from antiphon.surfaces.responses.request import decode
from antiphon.surfaces.responses.state.conversations import Conversations
from antiphon.surfaces.responses.state.response_store import KeptResponse, KeptResponses

log = logging.getLogger("antiphon.http")


class Keeper:
    """Keeps what comes of one request of an `owner`. A client that has its reply must not lose it with the disk, so
    what could not be kept is a line of the log."""

    def __init__(self, responses: KeptResponses, conversations: Conversations, draft: decode.Draft, owner: str) -> None:
        self._responses = responses
        self._conversations = conversations
        self._draft = draft
        self._owner = owner

    async def keep(self, response: sent.Response) -> None:
        """Keep a response as far as it has come. Raises NotKept."""
        record = KeptResponse(
            id=response.id,
            previous=self._draft.request.previous_response_id,
            status=response.status,
            items=decode.own_items(self._draft),
            response=msgspec.json.encode(response),
        )
        await self._responses.keep(record, self._owner)

    async def finish(self, response: sent.Response) -> bool:
        """Keep a response that is whole; whether it is kept under its id."""
        await self.add(response)
        if not response.store:
            return False
        try:
            await self.keep(response)
        except NotKept as failure:
            log.warning("%s is not kept: %s", response.id, failure.message)
            return False
        return True

    async def add(self, response: sent.Response) -> None:
        """Add what was said on both sides to the conversation."""
        if not self._draft.conversation or response.status not in ("completed", "incomplete"):
            return
        said = msgspec.json.decode(decode.own_items(self._draft), type=list[msgspec.Raw])
        answered = [msgspec.Raw(msgspec.json.encode(item)) for item in response.output]
        try:
            await self._conversations.add(self._draft.conversation, self._owner, [*said, *answered])
        except (NotFound, NotKept) as failure:
            log.warning("%s is not in its conversation: %s", response.id, failure.message)

    def finishing(self, run: Run, encode_ahead: Callable[[list[AnyEvent]], sent.Response | None]) -> Run:
        """The same, with the response kept before its end is told: a client that goes on from it at once finds it."""

        async def keeping(emit: Emit) -> None:
            async def passing(batch: list[AnyEvent]) -> None:
                if isinstance(batch[-1], Finished) and (response := encode_ahead(batch)):
                    await self.finish(response)
                await emit(batch)

            await run(passing)

        return keeping
