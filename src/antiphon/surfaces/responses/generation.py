"""What generates a response: calls that were approved, a summary where one is due, and the model, alone or in rounds
with the tools that run here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import Internal, PromptTooLong
from antiphon.api.events import AnyEvent, Compacted, Emit, Run
from antiphon.prompt.citations.labelling import Sources
from antiphon.server_tools.rounds import CallRules, Rounds
from antiphon.server_tools.tool import Declared
from antiphon.serving.compaction import Compaction
from antiphon.serving.service import Prepared, Service
from antiphon.surfaces.responses import compaction
from antiphon.surfaces.responses.request import decode
from antiphon.surfaces.responses.tools.approved_calls import ApprovedCalls
from antiphon.surfaces.responses.truncation import shortened


class Generation:
    """The generation of one response. The calls of its tools are counted together, whoever asked for them, and keep to
    the `rules`."""

    def __init__(
        self,
        service: Service,
        rules: CallRules,
        draft: decode.Draft,
        decoded: decode.DecodedRequest,
    ) -> None:
        self._service = service
        self._draft = draft
        self._decoded = decoded
        self._calls_left = draft.request.max_tool_calls
        self._rules = msgspec.structs.replace(rules, allow=partial(self._counted, rules.allow))

    async def begin(self) -> tuple[Run, Sequence[int]]:
        """Take the request in: what generates the response, and the ids of its prompt as far as they are known. Every
        failure that a status can tell is raised here."""
        decoded = self._decoded
        if not decoded.approved:
            return await self._go_on(decoded.conversation)
        calls = ApprovedCalls(decoded.approved, decoded.box)
        await self._service.admit(self._draft.request.model)
        rounds = self._rounds(decoded.conversation, decoded.box.runnable)

        async def further(blocks: list[Mapping[str, Any]]) -> Run:
            conversation = calls.answered(decoded.conversation, blocks, self._rules.seal, sees=self._rules.sees)
            run, _ = await self._go_on(conversation, further=True)
            return run

        return partial(calls.run, rounds, further), ()

    async def _go_on(self, conversation: Conversation, *, further: bool = False) -> tuple[Run, Sequence[int]]:
        """The reply to a conversation whose calls all have results, after a summary of it where one is due."""
        model, params = self._draft.request.model, self._decoded.generation
        summary = await self._service.compaction(model, conversation, params)
        if summary is None:
            return await self._reply(conversation, further=further)
        prepared = await self._prepare(summary.conversation, summary.params, further=further)

        async def reply(text: str) -> Run:
            run, _ = await self._reply(compaction.resumed(conversation, text) if text else conversation, further=True)
            return run

        run = Compaction(partial(self._service.run, prepared), summary.edit, reply).run
        return partial(_summary_alone, run) if summary.edit.pause else run, ()

    async def _reply(self, conversation: Conversation, *, further: bool) -> tuple[Run, Sequence[int]]:
        """The model's reply to a conversation, as far as that fits."""
        while True:
            try:
                prepared = await self._prepare(conversation, self._decoded.generation, further=further)
                break
            except PromptTooLong as failure:
                shorter = shortened(conversation, failure) if self._draft.request.truncation == "auto" else None
                if shorter is None:
                    raise
                conversation, further = shorter, True
        first = partial(self._service.run, prepared)
        if not (served := self._decoded.box.served):
            return first, prepared.prompt_ids if self._decoded.tokens.ids else ()
        return partial(self._rounds(conversation, served).run, first), ()

    async def _prepare(self, conversation: Conversation, params: GenerationParams, *, further: bool) -> Prepared:
        key = self._draft.request.prompt_cache_key
        session = key[:256] if key else None
        return await self._service.prepare(
            self._draft.request.model, conversation, params, session=session, further=further
        )

    def _rounds(self, conversation: Conversation, declared: Mapping[str, Declared]) -> Rounds:
        box = self._decoded.box

        async def further(conversation: Conversation, params: GenerationParams) -> Run:
            return partial(self._service.run, await self._prepare(conversation, params, further=True))

        return Rounds(
            conversation,
            self._decoded.generation,
            self._rules,
            declared=declared,
            deferred=box.deferred,
            searchable=box.searchable,
            further=further,
            sources=Sources(conversation.sources) if self._decoded.cites else None,
        )

    def _counted(self, allow: Callable[[], bool] | None) -> bool:
        """Whether one more call may be made."""
        if self._calls_left == 0:
            return False
        self._calls_left = None if self._calls_left is None else self._calls_left - 1
        return allow is None or allow()


async def _summary_alone(run: Run, emit: Emit) -> None:
    """A response that is nothing but a summary. Raises Internal where the model wrote none."""

    async def passing(batch: list[AnyEvent]) -> None:
        if Compacted(None) in batch:
            raise Internal("the model wrote no summary; send the request again")
        await emit(batch)

    await run(passing)
