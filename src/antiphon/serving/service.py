"""The path of a request, from a conversation to events. A newcomer starts here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

from antiphon.accounts.accounts import Accounts
from antiphon.api.conversation import Conversation, GenerationParams, callable_tools
from antiphon.api.errors import Overloaded
from antiphon.api.events import Emit
from antiphon.api.reply import Reply
from antiphon.constraint.plan import Part
from antiphon.observability import request_watch
from antiphon.prompt.inspection import Inspection
from antiphon.prompt.prefix.predecessors import CacheMiss, Predecessors
from antiphon.prompt.prefix.transcript import TranscriptStore
from antiphon.serving.admission import AdmissionQueue
from antiphon.serving.compaction import SummaryRequest
from antiphon.serving.context import ContextEditor
from antiphon.serving.model import Model, ModelCard
from antiphon.serving.prepared import Prepared
from antiphon.serving.rate_limits import RateLimiter
from antiphon.serving.recording import record, reported
from antiphon.serving.registry import ModelRegistry
from antiphon.serving.reloading import Reloader
from antiphon.serving.reply_run import ReplyRun
from antiphon.trajectories.recorder import Recorder

__all__ = ["ModelCard", "Part", "Prepared", "Service"]


class Service:
    """Everything behind the surfaces. `models` has at least one; the first is the default. `most_waiting` requests may
    wait for each engine; one that is silent at work for `stall` seconds is not ready. `rate_limiter` bounds what keys
    use, and `accounts` say what else they may; the `recorder` keeps what is sampled. In the `transcripts` other workers
    find what prompts were made of. `clears_tool_results` keeps the prompts of clients that ask for no edits within the
    window."""

    def __init__(
        self,
        models: Sequence[Model],
        *,
        most_waiting: int = 256,
        stall: float = 120.0,
        rate_limiter: RateLimiter | None = None,
        accounts: Accounts | None = None,
        transcripts: TranscriptStore | None = None,
        recorder: Recorder | None = None,
        clears_tool_results: bool = False,
    ) -> None:
        self._models = ModelRegistry(models)
        self._clears = clears_tool_results
        self._editors = {m.card.name: ContextEditor(m, clears=clears_tool_results) for m in models}
        self.reloader: Reloader | None = None
        """What has models take their weights anew, where they can."""
        queues = {
            m.card.name: AdmissionQueue(m.slots, most_waiting, model=m.card.name) for m in models if not m.card.base
        }
        # Adapters are at work in the slots of their model.
        self._queues = {m.card.name: queues[m.card.base or m.card.name] for m in models}
        self._predecessors = Predecessors(transcripts=transcripts)
        self._stall = stall
        self._recorder = recorder
        self._rate_limiter = rate_limiter
        self._accounts = accounts or Accounts()

    @property
    def slots(self) -> int:
        """How many requests the engine with the fewest slots works on at once, 0 where one does not say."""
        return min(model.slots for model in self._models)

    def cards(self) -> list[ModelCard]:
        """The models that are served to the key of the request, the default one first."""
        return [model.card for model in self._models.allowed(self._patterns())]

    def _patterns(self) -> tuple[str, ...]:
        key = self._accounts.keys.get(request_watch.watch().key)
        return key.models if key else ()

    def _resolve(self, model: str) -> Model:
        return self._models.resolve(model, self._patterns())

    def card(self, model: str) -> ModelCard:
        """The model that a client's `model` string means. Raises NotFound, listing what is served."""
        return self._resolve(model).card

    async def ready(self) -> list[tuple[str, bool, str]]:
        """For each model its name, whether its engine can take work, and a sentence."""
        answers = await asyncio.gather(*(model.health() for model in self._models))
        states = []
        for model, health in zip(self._models, answers, strict=True):
            queue, ready, detail = self._queues[model.card.name], health.ready, health.detail
            if ready and not health.loading and queue.silence() > self._stall:
                ready, detail = False, f"{queue.running} requests run, but nothing came for {queue.silence():.0f} s"
            states.append((model.card.name, ready, detail))
        return states

    async def count(self, model: str, conversation: Conversation, generation: GenerationParams) -> int:
        """The length in tokens of the prompt that this request would have, also where it is longer than the window."""
        served = self._resolve(model)
        edited = await self._editors[served.card.name].edited(conversation, generation)
        return await served.count(edited.conversation, generation)

    async def compaction(
        self, model: str, conversation: Conversation, generation: GenerationParams
    ) -> SummaryRequest | None:
        """The summary that must come before the reply to this request, if one must."""
        return await self._editors[self._resolve(model).card.name].compaction(conversation, generation)

    async def encode(self, model: str, text: str, suffix: str | None = None) -> list[int]:
        """The ids of a prompt that is text and nothing else; with a `suffix`, of one that asks for what stands between
        the two."""
        return await self._resolve(model).encode(text, suffix)

    async def decode(self, model: str, ids: Sequence[int]) -> str:
        """The text of ids of the model's."""
        return await self._resolve(model).decode(ids)

    async def inspect(
        self,
        model: str,
        conversation: Conversation,
        generation: GenerationParams,
        *,
        session: str | None = None,
        previous: str | None = None,
        first: bool = False,
    ) -> Inspection:
        """What the model would see of a request, beside the prompt before it (none for the `first`): of the `previous`
        message where one is named, else of the session. Nothing is generated, and nothing remembered."""
        served = self._resolve(model)
        find = None if first else partial(self._predecessors.before, session=session, previous=previous)
        edited = await self._editors[served.card.name].edited(conversation, generation)
        return await served.inspect(edited.conversation, generation, find)

    async def parts(self, model: str, conversation: Conversation, generation: GenerationParams) -> tuple[Part, ...]:
        """What would become of each schema of a request: held, or left to check, and why."""
        return await self._resolve(model).parts(conversation, generation)

    async def admit(self, model: str) -> None:
        """Take in a request whose prompt is made later: `prepare` does so itself, but for a `further` round. Raises
        Overloaded, BudgetSpent and RateLimited."""
        watch = request_watch.watch()
        watch.model = self._resolve(model).card.name
        self._queues[watch.model].refuse_if_full(watch.key)
        if self._accounts.budgets:
            await self._accounts.budgets.check(watch.key)
        if self._rate_limiter:
            self._rate_limiter.admit(watch.key)

    async def prepare(
        self,
        model: str,
        conversation: Conversation,
        generation: GenerationParams,
        *,
        session: str | None = None,
        message: str | None = None,
        previous: str | None = None,
        low_priority: bool = False,
        further: bool = False,
    ) -> Prepared:
        """Render, tokenise, fit and constrain. Every failure that a status can tell is raised here. With the id of the
        `message` that the reply will be, the prompt can be compared with a later one; with that of a `previous` message
        it is compared with that one's. A `low_priority` request comes after all others that wait. A `further` round of
        a request that was taken in is not refused for what the key or the engine has to do besides."""
        served, watch = self._resolve(model), request_watch.watch()
        if not further:
            await self.admit(model)
        tells_tokens = generation.report is not None
        if self._recorder is not None:
            generation = reported(generation, served.card)
        edited = await self._editors[served.card.name].edited(conversation, generation)
        if generation.edits is None:
            watch.cleared = edited.applied
        task = await served.task(edited.conversation, generation, session)
        watch.fallbacks += task.unheld
        watch.begin_prompt(task.usage.prompt)
        if self._rate_limiter:
            self._rate_limiter.spend_input(watch.key, watch.prompt, further=further)
        continuation = None
        if (record := task.record) is not None:
            continuation = await self._predecessors.follow(record, session=session, message=message, previous=previous)
        return Prepared(
            card=served.card,
            task=task,
            tools=callable_tools(conversation, generation),
            params=generation,
            continuation=continuation,
            miss=continuation.miss if continuation else CacheMiss("unavailable") if previous else None,
            low_priority=low_priority,
            further=further,
            tells_tokens=tells_tokens,
            edits=edited.applied,
        )

    async def run(self, prepared: Prepared, emit: Emit) -> None:
        """Generate, parse, and emit batches of events: the first begins with `Started`, the last ends with `Finished`.
        A failure is raised as a `Failure`. Cancelling it, or raising from `emit`, frees the engine."""
        watch, queue = request_watch.watch(), self._queues[prepared.card.name]
        watch.enter("queue")
        begun = False
        try:
            slot = queue.slot(
                watch.key, prepared.prompt_tokens, low_priority=prepared.low_priority, further=prepared.further
            )
            async with slot, self._using(prepared.card):
                begun = True
                watch.queued = (watch.queued or 0.0) + watch.enter("generate")
                record = None if self._recorder is None else self._record
                try:
                    await ReplyRun(prepared, queue, self._rate_limiter, record).run(emit)
                except Overloaded as failure:
                    # While the slot is taken: whoever was given it would wait as long again.
                    queue.reject_waiting(failure)
                    raise
        finally:
            watch.enter("reply")
            if self._rate_limiter:
                unused = watch.cached if begun else prepared.prompt_tokens
                self._rate_limiter.settle(watch.key, cached=unused, output=0)

    def _using(self, card: ModelCard) -> AbstractAsyncContextManager[None]:
        return self.reloader.using(card.base or card.name) if self.reloader else nullcontext()

    def renew(self, models: Sequence[Model]) -> None:
        """Serve these in place of those of the same names, from the next request on."""
        anew = {model.card.name: model for model in models}
        self._models = ModelRegistry([anew.get(model.card.name, model) for model in self._models])
        self._editors |= {name: ContextEditor(model, clears=self._clears) for name, model in anew.items()}

    async def _record(self, prepared: Prepared, reply: Reply) -> None:
        assert self._recorder is not None
        card, watch = prepared.card, request_watch.watch()
        loaded = self.reloader.loaded(card.base or card.name) if self.reloader else None
        spell = self._models.resolve(card.name).spell
        await record(
            self._recorder, prepared.task, prepared.continuation, card, reply, watch, loaded=loaded, spell=spell
        )

    async def close(self) -> None:
        """Let go of the engines."""
        for model in self._models:
            await model.close()
