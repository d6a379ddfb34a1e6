"""Generate and parse: from a job to events, with thinking kept to its budget.

Thinking that reaches its budget is closed for the model: the engine is stopped, the words that end thinking are
appended to what was sampled, and generation goes on from the cached prefix. Nothing in this is the engine's business.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import msgspec

from antiphon.api.events import AnyEvent, Emit, Started, Usage
from antiphon.engines import Engine, Job, Piece, Prefilled
from antiphon.parsing.parser import Parser
from antiphon.parsing.stopping import finished, until_first_call

MOST_CUTS = 3
"""A model that goes on opening its thinking after it was closed so many times has no answer to give."""


class GenerationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate, for a prompt of so many tokens. `window_bound` says that the job's limit is the window's.
    `thinking_limit` is in tokens; `cut_short` is the text that ends thinking (empty: it cannot be ended), after which
    `answer_grammar` holds and the tokens `opens_thinking` are banned. `held` says that the grammars hold the model to
    all that is demanded. `one_call` ends the reply after its first call. `after_mark` of the prompt's tokens stand
    behind the client's last cache mark (none: there is no mark)."""

    job: Job
    prompt_tokens: int
    parser: Callable[[], Parser]
    window_bound: bool
    thinking_limit: int
    cut_short: str = ""
    answer_grammar: str | None = None
    held: bool = False
    opens_thinking: tuple[int, ...] = ()
    one_call: bool = False
    after_mark: int | None = None

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
        self._ids: list[int] = []
        self._output = 0
        self._written: list[str] = []
        self._thinking = 0
        self._cached = 0
        self.begun = False
        """Whether anything was emitted."""
        self._again = False
        self._cuts = 0
        self._called = False
        self._limit = False
        self._ended = False
        self._mute_end = False
        self._enough = False
        """Whether what the engine still has to say is not wanted."""

    async def run(self, emit: Emit) -> None:
        """Emit batches of events, the first beginning with `Started`, the last ending with `Finished`."""
        job = self._plan.job
        if not self._plan.thinking_limit:
            job = msgspec.structs.replace(job, banned=self._plan.opens_thinking)
        while True:
            if self._overdrawn():
                # The prompt left the model inside thinking although there is to be none.
                job, events = await self._cut_short()
                if batch := self._begun(events):
                    await emit(batch)
            self._enough = False
            async with aclosing(self._engine.generate(job)) as reads:
                async for read in reads:
                    batch = self._prefilled(read) if isinstance(read, Prefilled) else self._begun(self._read(read))
                    if batch:
                        await emit(batch)
                    if self._enough:
                        break
            self._again = True
            if not self._unfinished():
                break
        await emit(self._finished())

    @property
    def _over(self) -> bool:
        return self._parser.stop_sequence is not None or self._limit or self._called

    def _unfinished(self) -> bool:
        """Whether generation is to go on after its thinking was cut short."""
        if self._over or not self._overdrawn() or self._cuts == MOST_CUTS:
            return False
        self._limit = self._output >= self._plan.job.max_tokens
        return not self._limit

    def _overdrawn(self) -> bool:
        thinking = self._parser.in_thinking and self._thinking >= self._plan.thinking_limit
        return thinking and bool(self._plan.cut_short) and not self._over

    def _prefilled(self, read: Prefilled) -> list[AnyEvent]:
        if self._again:
            # What was cached by then is what the first generation computed.
            return []
        if self._plan.job.images:
            # Not every engine tells beforehand what a picture takes.
            self._prompt = read.prompt
        self._cached = min(read.cached, self._prompt)
        return self._begun([])

    def _begun(self, events: list[AnyEvent]) -> list[AnyEvent]:
        if self.begun:
            return events
        self.begun = True
        return [Started(self.usage), *events]

    def _read(self, pieces: list[Piece]) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for piece in pieces:
            if self._parser.in_thinking:
                self._thinking += piece.count
            self._output += piece.count
            self._ids.extend(piece.ids)
            self._written.append(piece.text)
            events += self._taken(self._parser.feed(piece.text, piece.ids))
            if piece.ids:
                self._mute_end = not piece.text
            self._limit, self._ended = piece.end == "length", piece.end == "stop"
            self._enough = self._over or self._overdrawn()
            if self._enough or piece.end != "none":
                break
        return events

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
        if len(self._ids) != self._output:
            return await self._engine.tokenise(["".join(self._written)])
        return self._ids[:-1] if self._mute_end else self._ids

    async def _cut_short(self) -> tuple[Job, list[AnyEvent]]:
        if len(self._ids) != self._output:
            self._ids = await self._engine.tokenise(["".join(self._written)])
        closing = await self._engine.tokenise([self._plan.cut_short])
        self._ids += closing
        self._output += len(closing)
        self._written.append(self._plan.cut_short)
        job = self._plan.job
        left = job.max_tokens - self._output
        self._cuts += 1
        events = self._parser.feed(self._plan.cut_short)
        return msgspec.structs.replace(
            job,
            prompt=[*job.prompt, *self._ids],
            max_tokens=max(left, 1),
            grammar=self._plan.answer_grammar,
            banned=self._plan.opens_thinking,
            text=job.text + "".join(self._written),
        ), events

    @property
    def output(self) -> int:
        """How many tokens were sampled so far."""
        return self._output

    @property
    def usage(self) -> Usage:
        """The figures so far."""
        return Usage(
            prompt=self._prompt,
            cached=self._cached,
            created=self._plan.created(self._prompt, self._cached),
            output=self._output,
            thinking=self._thinking,
        )

    def _finished(self) -> list[AnyEvent]:
        events = self._begun([] if self._called else self._taken(self._parser.finish()))
        end = finished(
            self.usage,
            limit=self._limit,
            window=self._plan.window_bound,
            sequence=self._parser.stop_sequence,
            calls=1 if self._called else self._parser.calls,
            cut_call=self._parser.cut_call,
        )
        return [*events, end]
