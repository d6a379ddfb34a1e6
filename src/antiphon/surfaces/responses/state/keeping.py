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
from antiphon.surfaces.responses.state.kept import KeptResponse, KeptResponses

log = logging.getLogger("antiphon.http")


class Keeper:
    """Keeps what comes of one request of an `owner`. A client that has its reply must not lose it with the disk, so
    what could not be kept is a line of the log."""

    def __init__(self, kept: KeptResponses, conversations: Conversations, draft: decode.Draft, owner: str) -> None:
        self._kept = kept
        self._conversations = conversations
        self._draft = draft
        self._owner = owner

    async def keep(self, made: sent.Response) -> None:
        """Keep a response as far as it has come. Raises NotKept."""
        record = KeptResponse(
            id=made.id,
            previous=self._draft.request.previous_response_id,
            status=made.status,
            items=decode.own_items(self._draft),
            response=msgspec.json.encode(made),
        )
        await self._kept.keep(record, self._owner)

    async def finish(self, made: sent.Response) -> bool:
        """Keep a response that is whole; whether it is kept under its id."""
        await self.add(made)
        if not made.store:
            return False
        try:
            await self.keep(made)
        except NotKept as failure:
            log.warning("%s is not kept: %s", made.id, failure.message)
            return False
        return True

    async def add(self, made: sent.Response) -> None:
        """Add what was said on both sides to the conversation."""
        if not self._draft.conversation or made.status not in ("completed", "incomplete"):
            return
        said = msgspec.json.decode(decode.own_items(self._draft), type=list[msgspec.Raw])
        answered = [msgspec.Raw(msgspec.json.encode(item)) for item in made.output]
        try:
            await self._conversations.add(self._draft.conversation, self._owner, [*said, *answered])
        except (NotFound, NotKept) as failure:
            log.warning("%s is not in its conversation: %s", made.id, failure.message)

    def finishing(self, run: Run, encode_ahead: Callable[[list[AnyEvent]], sent.Response | None]) -> Run:
        """The same, with the response kept before its end is told: a client that goes on from it at once finds it."""

        async def kept(emit: Emit) -> None:
            async def passing(batch: list[AnyEvent]) -> None:
                if isinstance(batch[-1], Finished) and (made := encode_ahead(batch)):
                    await self.finish(made)
                await emit(batch)

            await run(passing)

        return kept
