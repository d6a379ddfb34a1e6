"""Generate and parse: from a job to events, with thinking kept to its budget and calls to their schemas.

Thinking that reaches its budget is closed for the model: the engine is stopped, the words that end thinking are
appended to what was sampled, and generation goes on from the cached prefix. A call that does not match its tool's
schema is asked for again from its beginning, in the same way; so is one that begins where no grammar stood beside the
text. Nothing in this is the engine's business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from itertools import groupby
from typing import Any

import msgspec

from antiphon.api.events import AnyEvent, Emit, PromptProgress, ReportProgress, Started, Usage
from antiphon.api.tokens import TokenReport
from antiphon.engines import Engine, Job, Piece, Prefilled
from antiphon.parsing.parser import Parser
from antiphon.parsing.stopping import finished, until_first_call
from antiphon.serving.token_model.call_check import CallCheck
from antiphon.serving.token_model.call_watch import CallWatch
from antiphon.serving.token_model.token_report import TokenReporter
from antiphon.serving.token_model.writing import Written

log = logging.getLogger("antiphon")

MOST_CUTS = 3
"""A model that goes on opening its thinking after it was closed so many times has no answer to give."""


class GenerationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate, for a prompt of so many tokens. `window_bound` says that the job's limit is the window's.
    `thinking_limit` is in tokens; `cut_short` is the text that ends thinking (empty: it cannot be ended), after which
    `answer_grammar` holds and the tokens `opens_thinking` are banned. Until one of the texts comes that a call `begins`
    with, no grammar is needed (none: it is from the first token on). `held` says that the grammars hold the model to
    all that is demanded, `offered` are the schemas, by name, that calls must match which the model makes of its own
    accord; calls of the `checked` ones are checked, because no grammar holds the model to all of the schema. `one_call`
    ends the reply after its first call. `after_mark` of the prompt's tokens stand behind the client's last cache mark
    (none: there is no mark). A `report` is what is told of the tokens, if they are told at all."""

    job: Job
    prompt_tokens: int
    parser: Callable[[], Parser]
    window_bound: bool
    thinking_limit: int
    cut_short: str = ""
    answer_grammar: str | None = None
    begins: tuple[str, ...] = ()
    held: bool = False
    offered: Mapping[str, dict[str, Any]] = {}
    checked: Mapping[str, dict[str, Any]] = {}
    opens_thinking: tuple[int, ...] = ()
    one_call: bool = False
    after_mark: int | None = None
    report: TokenReport | None = None

    def created(self, prompt: int, cached: int) -> int:
        """How many of a prompt's tokens stand before the mark and were computed, when `cached` were not."""
        return 0 if self.after_mark is None else max(prompt - cached - self.after_mark, 0)


class GenerationRun:
    """One generation on its way."""

    def __init__(self, plan: GenerationPlan, engine: Engine) -> None:
        self._plan = plan
        self._engine = engine
        self._prompt = plan.prompt_tokens
        self._parser = plan.parser()
        self._watch = CallWatch(plan.begins)
        self._check = CallCheck(plan.checked, may_go_back=self._watch.on)
        # What is held back may not be told at all.
        apart = self._check.may_go_back
        self._reporter = TokenReporter(plan.report, engine, apart=apart) if plan.report else None
        self._written = Written(keeps_pieces=self._check.may_go_back)
        self._discarded = 0
        self._cached = 0
        self.begun = False
        """Whether anything was emitted."""
        self._again = False
        self._cuts = 0
        self._called = False
        self._limit = False
        self._ended = False
        self._enough = False
        """Whether what the engine still has to say is not wanted."""

    async def run(self, emit: Emit, report: ReportProgress) -> None:
        """Emit batches of events, the first beginning with `Started`, the last ending with `Finished`; report how far
        the prompt is read, whenever the engine tells."""
        job = self._plan.job
        if self._watch.on:
            job = msgspec.structs.replace(job, grammar=None)
        if not self._plan.thinking_limit:
            job = msgspec.structs.replace(job, banned=self._plan.opens_thinking)
        ending: list[AnyEvent] = []
        while not ending:
            if self._overdrawn():
                # The prompt left the model inside thinking although there is to be none.
                job, events = await self._cut_short()
                if batch := self._begun(events):
                    await emit(batch)
            self._enough = False
            async with aclosing(self._engine.generate(job)) as reads:
                async for read in reads:
                    if isinstance(read, Prefilled):
                        batch = self._prefilled(read)
                        report(self._progress(read))
                    else:
                        if self._reporter:
                            read = await self._reporter.complete(read)
                        batch = self._begun(self._read(read))
                    if batch or self._check.holds:
                        await emit(batch)
                    if self._enough:
                        break
            self._again = True
            if self._watch.begun:
                job = await self._with_grammar(job)
            elif not self._check.problem and not self._unfinished():
                ending = self._finished()
            if self._check.problem:
                job, ending = await self._from_call(job), []
        await emit(ending)

    @property
    def _over(self) -> bool:
        return self._parser.stop_sequence is not None or self._limit or self._called

    def _unfinished(self) -> bool:
        """Whether generation is to go on after its thinking was cut short."""
        if self._over or not self._overdrawn() or self._cuts == MOST_CUTS:
            return False
        self._limit = self._written.count >= self._plan.job.max_tokens
        return not self._limit

    def _overdrawn(self) -> bool:
        if not self._plan.cut_short or self._written.thinking < self._plan.thinking_limit:
            return False
        return self._parser.in_thinking and not self._over

    def _prefilled(self, read: Prefilled) -> list[AnyEvent]:
        if self._again:
            # What was cached by then is what the first generation computed.
            return []
        if self._plan.job.images:
            # Not every engine tells beforehand what a picture takes.
            self._prompt = read.prompt
        self._cached = min(read.cached, self._prompt)
        return self._begun([])

    def _progress(self, read: Prefilled) -> PromptProgress:
        cached = min(read.cached, read.prompt)
        done = min(max(read.read, cached), read.prompt)
        return PromptProgress(prompt=read.prompt, cached=cached, restored=min(read.restored, cached), read=done)

    def _begun(self, events: list[AnyEvent]) -> list[AnyEvent]:
        if self.begun:
            return events
        self.begun = True
        return [Started(self.usage), *events]

    def _read(self, pieces: list[Piece]) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for piece in pieces:
            aside = self._watch.on and self._aside
            self._written.add(piece, thinking=self._parser.in_thinking)
            batch = self._taken(self._parser.feed(piece.text, piece.ids))
            if self._watch.on and not self._over:
                self._watch.read(piece.text, aside=aside and self._aside)
                if self._watch.begun:
                    self._enough = True
                    break
            if self._reporter and piece.tokens:
                batch = self._reporter.beside(batch, piece.tokens)
            events += self._passed(batch)
            self._limit, self._ended = piece.end == "length", piece.end == "stop"
            self._enough = self._over or self._overdrawn() or bool(self._check.problem)
            if self._enough or piece.end != "none":
                break
        return events

    @property
    def _aside(self) -> bool:
        return self._parser.in_thinking or self._parser.in_call

    def _passed(self, events: list[AnyEvent]) -> list[AnyEvent]:
        if not self._check.may_go_back:
            return events
        settled = self._parser.settled and self._watch.settled
        return self._check.passed(events, pieces=len(self._written.pieces), settled=settled)

    def _taken(self, events: list[AnyEvent]) -> list[AnyEvent]:
        if self._plan.one_call and not self._called:
            events, self._called = until_first_call(events)
        return events

    async def sampled(self) -> list[int] | None:
        """The ids of a reply that the model ended itself, without the token that it ended with, or that the limit ended
        in its answer; None where what was sampled is not what was told."""
        in_answer = self._limit and not (self._parser.in_thinking or self._parser.cut_call or self._called)
        if not (self._ended or in_answer) or self._parser.stop_sequence is not None:
            return None
        ids = await self._written.ids(self._engine)
        return ids[:-1] if self._written.mute_end else ids

    async def _cut_short(self) -> tuple[Job, list[AnyEvent]]:
        before = await self._written.ids(self._engine)
        closing = await self._engine.tokenise([self._plan.cut_short])
        self._written.add(Piece(self._plan.cut_short, len(closing), closing))
        self._cuts += 1
        events = self._parser.feed(self._plan.cut_short)
        if self._reporter:
            events.insert(0, await self._reporter.written(closing))
        job = msgspec.structs.replace(self._plan.job, banned=self._plan.opens_thinking)
        return self._going_on(job, [*before, *closing], self._plan.answer_grammar), self._passed(events)

    async def _from_call(self, job: Job) -> Job:
        """The job that asks again for the call that was held back and found wrong. What the client has stays."""
        log.warning("a call breaks its tool's schema and is sampled again: %s", self._check.again())
        return await self._back(msgspec.structs.replace(job, sampling=job.sampling.otherwise()))

    async def _with_grammar(self, job: Job) -> Job:
        """The job that goes on from the beginning of a call, held from there."""
        self._watch.end()
        self._check.forget()
        return await self._back(job)

    async def _back(self, job: Job) -> Job:
        """The job that goes on behind all that the client has."""
        before = self._written
        self._written = before.first(self._check.released, keeps_pieces=self._check.may_go_back)
        self._parser = self._plan.parser()
        kept = [piece for piece, _ in before.pieces[: self._check.released]]
        for _, run in groupby(kept, lambda piece: self._parser.names_thinking(piece.ids)):
            pieces = list(run)
            self._parser.feed("".join(piece.text for piece in pieces), [id for piece in pieces for id in piece.ids])
        self._discarded += before.count - self._written.count
        self._called = self._limit = self._ended = False
        # What thinking began with is in the first grammar alone.
        grammar = self._plan.job.grammar if self._parser.in_thinking else self._plan.answer_grammar
        return self._going_on(job, await self._written.ids(self._engine), grammar)

    def _going_on(self, job: Job, ids: list[int], grammar: str | None) -> Job:
        """The job that goes on behind what was written, which is these tokens, with this grammar if it is needed."""
        first = self._plan.job
        return msgspec.structs.replace(
            job,
            prompt=[*first.prompt, *ids],
            max_tokens=max(first.max_tokens - self._written.count, 1),
            grammar=None if self._watch.on else grammar,
            text=first.text + self._written.text,
        )

    @property
    def output(self) -> int:
        """How many tokens were sampled so far, those of calls that were asked for again too."""
        return self._discarded + self._written.count

    @property
    def usage(self) -> Usage:
        """The figures so far."""
        return Usage(
            prompt=self._prompt,
            cached=self._cached,
            created=self._plan.created(self._prompt, self._cached),
            output=self._written.count,
            thinking=self._written.thinking,
        )

    def _finished(self) -> list[AnyEvent]:
        found = [] if self._called else self._taken(self._parser.finish())
        pieces = len(self._written.pieces)
        events = self._begun(self._check.passed(found, pieces=pieces, settled=True, cut=self._limit))
        end = finished(
            self.usage,
            limit=self._limit,
            window=self._plan.window_bound,
            sequence=self._parser.stop_sequence,
            calls=1 if self._called else self._parser.calls,
            cut_call=self._parser.cut_call,
        )
        return [*events, end]
