"""Generate and parse: from a job to events, with thinking kept to its budget.

Thinking that reaches its budget is closed for the model: the engine is stopped, the words that end thinking are
appended to what was sampled, and generation goes on from the cached prefix. Nothing in this is the engine's business.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import msgspec

from antiphon.engines import Engine, Job, Piece, Prefilled
from antiphon.events import AnyEvent, Finished, Started, Usage
from antiphon.parsing.parser import Parser
from antiphon.parsing.stopping import stop_reason


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate. `window_bound` says that the job's limit is the window's. `thinking_limit` is in tokens;
    `cut_short` is the text that ends thinking (empty: it cannot be ended), after which `answer_grammar` holds."""

    job: Job
    parser: Callable[[], Parser]
    window_bound: bool
    thinking_limit: int
    cut_short: str = ""
    answer_grammar: str | None = None


class Course:
    """One generation on its way."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        self._plan = plan
        self._engine = engine
        self._parser = plan.parser()
        self._ids: list[int] = []
        self._output = 0
        self._written: list[str] = []
        self._thinking = 0
        self._cached = 0
        self._started = False
        self._limit = False
        self._ended = False
        self._mute_end = False

    async def events(self) -> AsyncGenerator[list[AnyEvent], None]:
        """Batches of events, the first beginning with `Started`, the last ending with `Finished`."""
        job = self._plan.job
        while True:
            if self._overdrawn():
                # The prompt left the model inside thinking although there is to be none.
                job, events = await self._cut_short()
                if batch := self._begun(events):
                    yield batch
            async with aclosing(self._engine.generate(job)) as reads:
                async for read in reads:
                    batch = self._prefilled(read) if isinstance(read, Prefilled) else self._begun(self._read(read))
                    if batch:
                        yield batch
                    if self._over or self._overdrawn():
                        break
            if self._over or not self._overdrawn():
                break
        yield self._finished()

    @property
    def _over(self) -> bool:
        return self._parser.stop_sequence is not None or self._limit

    def _overdrawn(self) -> bool:
        thinking = self._parser.in_thinking and self._thinking >= self._plan.thinking_limit
        return thinking and bool(self._plan.cut_short) and not self._over

    def _prefilled(self, read: Prefilled) -> list[AnyEvent]:
        if self._started:
            return []
        self._cached = min(read.cached, len(self._plan.job.prompt))
        return self._begun([])

    def _begun(self, events: list[AnyEvent]) -> list[AnyEvent]:
        if self._started:
            return events
        self._started = True
        return [Started(self._usage()), *events]

    def _read(self, pieces: list[Piece]) -> list[AnyEvent]:
        events: list[AnyEvent] = []
        for piece in pieces:
            if self._parser.in_thinking:
                self._thinking += piece.count
            self._output += piece.count
            self._ids.extend(piece.ids)
            self._written.append(piece.text)
            events += self._parser.feed(piece.text)
            if piece.ids:
                self._mute_end = not piece.text
            self._limit, self._ended = piece.end == "length", piece.end == "stop"
            if piece.end != "none" or self._over or self._overdrawn():
                break
        return events

    async def sampled(self) -> list[int] | None:
        """The ids of a reply that the model ended itself, without the token that it ended with; None where it did not
        end itself, so that what was sampled is more than what was told."""
        if not self._ended or self._parser.stop_sequence is not None:
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
        events = self._parser.feed(self._plan.cut_short)
        return msgspec.structs.replace(
            job,
            prompt=[*job.prompt, *self._ids],
            max_tokens=max(left, 1),
            grammar=self._plan.answer_grammar,
            text=job.text + "".join(self._written),
        ), events

    def _usage(self) -> Usage:
        prompt = len(self._plan.job.prompt)
        return Usage(prompt=prompt, cached=self._cached, output=self._output, thinking=self._thinking)

    def _finished(self) -> list[AnyEvent]:
        events = self._begun(self._parser.finish())
        reason = stop_reason(
            limit=self._limit,
            window=self._plan.window_bound,
            sequence=self._parser.stop_sequence,
            calls=self._parser.calls,
            cut_call=self._parser.cut_call,
        )
        return [*events, Finished(reason, self._usage(), self._parser.stop_sequence)]
