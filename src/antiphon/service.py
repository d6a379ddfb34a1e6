"""The path of a request, from a conversation to events. A newcomer starts here."""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

import msgspec

from antiphon import telemetry
from antiphon.admission import Line
from antiphon.catalogue import Catalogue
from antiphon.constraint import dialects
from antiphon.constraint.check import complaint, demands
from antiphon.constraint.plan import plan
from antiphon.conversation import Conversation, Generation, Tool
from antiphon.engines import Job
from antiphon.errors import BadRequest, Internal, Overloaded
from antiphon.events import AnyEvent, Finished, Fold, Started, Usage, fold
from antiphon.generation import Course, Plan
from antiphon.limits import Meter
from antiphon.model import Model, ModelCard
from antiphon.parsing.arguments import Signature
from antiphon.parsing.parser import Parser
from antiphon.prompt.inspection import Inspection, inspect
from antiphon.prompt.predecessors import Descent, Miss, Predecessors
from antiphon.prompt.prompter import Prompt
from antiphon.prompt.tokens import room, thinking_room
from antiphon.prompt.transcript import Shelf
from antiphon.prompt.turns import repaired

__all__ = ["ModelCard", "Prepared", "Service"]

log = logging.getLogger("antiphon")

_ALPHABET = string.ascii_letters + string.digits


def call_id() -> str:
    """A new id for a tool call, opaque and unique."""
    return "toolu_" + "".join(secrets.choice(_ALPHABET) for _ in range(24))


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has passed every check and only waits to be run: its true prompt length in tokens, and what `run`
    needs. `unheld` says that no grammar holds the model to what the request demands, so that the reply is checked.
    `descent` tells what the prompt goes on from."""

    card: ModelCard
    prompt_tokens: int
    model: Model
    prompt: Prompt
    plan: Plan
    tools: tuple[Tool, ...]
    wanted: Generation
    unheld: bool
    descent: Descent

    @property
    def usage(self) -> Usage:
        """The figures as long as the engine has told nothing."""
        return Usage(prompt=self.prompt_tokens, created=self.plan.created(self.prompt_tokens, 0))

    def freed(self) -> Prepared:
        """The same without its grammar."""
        job = msgspec.structs.replace(self.plan.job, grammar=None)
        return msgspec.structs.replace(
            self, plan=msgspec.structs.replace(self.plan, job=job, answer_grammar=None, held=False), unheld=True
        )

    @property
    def miss(self) -> Miss | None:
        """Why the prompt does not go on from the previous message's, as far as that was asked."""
        return self.descent.miss


class Service:
    """Everything behind the surfaces. `models` has at least one; the first is the default. `most_waiting` requests may
    wait for each engine; one that is silent at work for `stall` seconds is not ready. `meter` bounds what keys use. On
    the `shelf` other workers find what prompts were made of."""

    def __init__(
        self,
        models: Sequence[Model],
        *,
        most_waiting: int = 256,
        stall: float = 120.0,
        meter: Meter | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self._models = Catalogue(models)
        self._lines = {m.card.name: Line(m.description.slots, most_waiting, model=m.card.name) for m in models}
        self._predecessors = Predecessors(shelf=shelf)
        self._stall = stall
        self._meter = meter

    def cards(self) -> list[ModelCard]:
        """The served models, the default one first."""
        return [model.card for model in self._models]

    def card(self, model: str) -> ModelCard:
        """The model that a client's `model` string means. Raises NotFound, listing what is served."""
        return self._models.meant(model).card

    async def ready(self) -> list[tuple[str, bool, str]]:
        """For each model its name, whether its engine can take work, and a sentence."""
        answers = await asyncio.gather(*(model.engine.health() for model in self._models))
        found = []
        for model, health in zip(self._models, answers, strict=True):
            line, ready, detail = self._lines[model.card.name], health.ready, health.detail
            if ready and line.silence() > self._stall:
                ready, detail = False, f"{line.running} requests run, but nothing came for {line.silence():.0f} s"
            found.append((model.card.name, ready, detail))
        return found

    async def count(self, model: str, conversation: Conversation, generation: Generation) -> int:
        """The length in tokens of the prompt that this request would have, also where it is longer than the window."""
        prompter = self._models.meant(model).prompter
        return (await prompter.prompt(repaired(conversation), generation.thinking)).length

    async def inspect(
        self,
        model: str,
        conversation: Conversation,
        generation: Generation,
        *,
        session: str | None = None,
        previous: str | None = None,
        first: bool = False,
    ) -> Inspection:
        """What the model would see of a request, beside the prompt before it (none for the `first`): of the `previous`
        message where one is named, else of the session. Nothing is generated, and nothing remembered."""
        at = self._models.meant(model)
        find = None if first else partial(self._predecessors.before, session=session, previous=previous)
        return await inspect(
            at.prompter, at.engine.spell, repaired(conversation), generation.thinking, find, at.card.name
        )

    async def prepare(
        self,
        model: str,
        conversation: Conversation,
        generation: Generation,
        *,
        session: str | None = None,
        message: str | None = None,
        previous: str | None = None,
    ) -> Prepared:
        """Render, tokenise, fit and constrain. Every failure that a status can tell is raised here. With the id of the
        `message` that the reply will be, the prompt can be compared with a later one; with that of a `previous` message
        it is compared with that one's."""
        at, watch = self._models.meant(model), telemetry.watch()
        watch.model = at.card.name
        self._lines[at.card.name].refuse_if_full()
        if self._meter:
            self._meter.admit(watch.key)
        began = watch.clock()
        prompt = await at.prompter.prompt(repaired(conversation), generation.thinking)
        watch.tokenised = watch.clock() - began
        watch.remembered = prompt.remembered
        course = await _plan(at, prompt, conversation, generation, session)
        unheld = demands(generation) and not course.held
        watch.fallbacks += unheld
        if self._meter:
            self._meter.spend_input(watch.key, prompt.length)
        watch.prompt = prompt.length
        now = await at.prompter.made(prompt, generation.thinking, at.card.name, text=log.isEnabledFor(logging.DEBUG))
        return Prepared(
            card=at.card,
            prompt_tokens=prompt.length,
            model=at,
            prompt=prompt,
            plan=course,
            tools=_callable(conversation, generation),
            wanted=generation,
            unheld=unheld,
            descent=self._predecessors.follow(now, session=session, message=message, previous=previous),
        )

    async def run(self, prepared: Prepared) -> AsyncGenerator[list[AnyEvent], None]:
        """Generate and parse. The first batch begins with `Started`; the last ends with `Finished`. A failure is
        raised as a `Failure`. Closing the generator frees the engine."""
        watch, line = telemetry.watch(), self._lines[prepared.card.name]
        try:
            async with line.slot(watch.key, prepared.prompt_tokens) as waited:
                watch.queued = waited
                if prepared.unheld:
                    yield await self._checked(prepared)
                    return
                async with aclosing(self._attempted(prepared)) as batches:
                    async for batch in batches:
                        yield batch
        except Overloaded as failure:
            if watch.queued is not None:
                line.turn_away(failure)
            raise
        finally:
            if self._meter:
                unused = watch.cached if watch.queued is not None else watch.prompt
                self._meter.settle(watch.key, cached=unused, output=watch.output)

    async def _attempted(self, prepared: Prepared) -> AsyncGenerator[list[AnyEvent], None]:
        """The events of a reply that a grammar holds; where the engine turns out not to take it, of one that is
        checked."""
        begun = False
        try:
            async with aclosing(self._generated(prepared)) as batches:
                async for batch in batches:
                    begun = True
                    yield batch
            return
        except BadRequest as refusal:
            if begun or prepared.plan.job.grammar is None:
                raise
            log.warning("the engine does not take the grammar, the model runs free: %s", refusal)
        telemetry.watch().fallbacks += 1
        yield await self._checked(prepared.freed())

    async def _generated(self, prepared: Prepared) -> AsyncGenerator[list[AnyEvent], None]:
        """The events of one attempt. What was sampled is remembered before the last of them is told, so that a client
        that answers at once finds it."""
        course, folding = Course(prepared.plan, prepared.model.engine), Fold()
        watch, listening = telemetry.watch(), self._lines[prepared.card.name].listening()
        try:
            async with aclosing(course.events()) as batches:
                async for batch in batches:
                    listening.heard(now := watch.batch(batch))
                    watch.written(now, course.output)
                    if isinstance(first := batch[0], Started) and (lost := prepared.descent.lost(first.usage.cached)):
                        log.debug("%s", lost)
                    for event in batch:
                        folding.add(event)
                    if isinstance(batch[-1], Finished):
                        watch.finished(reply := folding.reply())
                        if (sampled := await course.sampled()) is not None:
                            prepared.model.prompter.remember(prepared.prompt, reply, sampled)
                    yield batch
                    listening.resume()
        finally:
            listening.end()
            watch.generated(course.usage)

    async def _checked(self, prepared: Prepared) -> list[AnyEvent]:
        """The events of a whole reply that keeps what the request demands; the model has two attempts."""
        problem = ""
        for _ in range(2):
            events: list[AnyEvent] = []
            async with aclosing(self._generated(prepared)) as batches:
                async for batch in batches:
                    events += batch
            problem = complaint(fold(events), prepared.tools, prepared.wanted)
            if not problem:
                return events
            log.warning("the reply does not keep what was demanded: %s", problem)
        raise Internal(f"the model could not be held to what the request demands: {problem}")

    async def close(self) -> None:
        """Let go of the engines."""
        for model in self._models:
            await model.engine.close()


def _callable(conversation: Conversation, wanted: Generation) -> tuple[Tool, ...]:
    return () if wanted.tool_choice.mode == "none" else conversation.callable_tools


async def _plan(at: Model, prompt: Prompt, conversation: Conversation, wanted: Generation, session: str | None) -> Plan:
    """What to generate: within the window, and held to what the request demands."""
    limit, window_bound = room(prompt.length, wanted.max_tokens, at.card.window)
    demand = plan(
        conversation.callable_tools,
        wanted,
        at.format,
        at.reasoning,
        starts_thinking=prompt.starts_thinking,
        trained=at.prompter.renderer.native_tools,
        thinks=at.card.thinking,
    )
    held = await dialects.hold(at.description.grammar, demand, at.token_ids.get)
    job = Job(
        prompt=prompt.ids,
        max_tokens=limit,
        sampling=wanted.sampling,
        visible=at.visible,
        grammar=held.whole if held else None,
        images=prompt.pictures,
        conversation=session,
        text=prompt.text,
    )
    return Plan(
        job=job,
        prompt_tokens=prompt.length,
        parser=partial(_parser, at, _callable(conversation, wanted), wanted, prompt.starts_thinking, held is not None),
        window_bound=window_bound,
        thinking_limit=thinking_room(wanted.thinking, conversation, limit),
        cut_short=at.reasoning.cut_short,
        answer_grammar=held.answer if held else None,
        held=held is not None and held.exact,
        opens_thinking=tuple(at.token_ids[marker] for marker in at.reasoning.opens if marker in at.token_ids),
        one_call=not wanted.tool_choice.parallel,
        after_mark=await at.prompter.after(prompt, conversation, wanted.thinking, wanted.cached_turns),
    )


def _parser(at: Model, tools: tuple[Tool, ...], wanted: Generation, starts_thinking: bool, held: bool) -> Parser:
    return Parser(
        at.format,
        at.reasoning,
        {tool.name: Signature(tool.schema) for tool in tools},
        new_id=call_id,
        stop=wanted.stop_sequences,
        starts_thinking=starts_thinking,
        # No grammar holds what is written inside thinking: what is demanded comes after it.
        calls_in_thinking=not held and not demands(wanted),
    )
