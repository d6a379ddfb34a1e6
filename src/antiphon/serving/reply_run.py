"""The reply to a request that has a slot: one attempt that is held to what is demanded, or a few that are checked."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from antiphon.api.errors import BadRequest, Internal
from antiphon.api.events import AnyEvent, Emit, Finished, PromptProgress, Started
from antiphon.api.reply import Fold, Reply, fold
from antiphon.constraint.check import MOST_ATTEMPTS, complaint, confirm
from antiphon.observability import request_watch
from antiphon.serving.admission import AdmissionQueue
from antiphon.serving.model import Attempt, Task
from antiphon.serving.prepared import Prepared
from antiphon.serving.rate_limits import RateLimiter
from antiphon.serving.recording import without_tokens

log = logging.getLogger("antiphon")

Record = Callable[[Prepared, Reply], Awaitable[None]]
"""Keeps what was sampled for a reply."""


class ReplyRun:
    """The reply on its way. Where nobody keeps what is sampled there is nothing to `record` with."""

    def __init__(
        self, prepared: Prepared, queue: AdmissionQueue, rate_limiter: RateLimiter | None, record: Record | None
    ) -> None:
        self._prepared = prepared
        self._queue = queue
        self._rate_limiter = rate_limiter
        self._record = record

    async def run(self, emit: Emit) -> None:
        """Emit the events: held to the demand by the engine, or else checked. Where nothing is demanded, the model may
        run free."""
        task = self._prepared.task
        if not task.unheld:
            attempt = task.attempt()
            try:
                await self._generate(attempt, emit)
                return
            except BadRequest as refusal:
                freed = task.freed()
                if attempt.begun or freed is None:
                    raise
                log.warning("the output is not constrained, because the engine refused its grammar: %s", refusal)
            request_watch.watch().fallbacks += 1
            task = freed
            self._prepared = msgspec.structs.replace(self._prepared, task=task)
            if not task.unheld:
                await self._generate(task.attempt(), emit)
                return
        await emit(await self._checked(task))

    async def _generate(self, attempt: Attempt, emit: Emit, *, to_be_checked: bool = False) -> None:
        """One attempt, watched. What was sampled is remembered, and recorded, before the last of it is emitted, so that
        a client that answers at once finds it; what is `to_be_checked` is recorded and cleaned by whoever checks it."""
        prepared, watch = self._prepared, request_watch.watch()
        folding = Fold(with_tokens=self._record is not None)
        with_tokens = to_be_checked or prepared.tells_tokens or self._record is None
        engine_wait = self._queue.engine_wait()

        async def passing(batch: list[AnyEvent]) -> None:
            engine_wait.heard(now := watch.batch(batch))
            watch.written(now, attempt.output)
            if not batch:
                engine_wait.resume()
                return
            if isinstance(first := batch[0], Started) and (lost := prepared.lost(first.usage.cached)):
                watch.lost, watch.loss = lost.tokens, lost.cause
                log.debug("%s", lost.sentence)
            folding.extend(batch)
            if isinstance(end := batch[-1], Finished):
                batch = [*batch[:-1], msgspec.structs.replace(end, edits=prepared.edits)]
                watch.finished(reply := folding.reply())
                if not to_be_checked:
                    confirm(reply, prepared.tools, prepared.params)
                await attempt.remember(reply)
                if self._record and not to_be_checked:
                    await self._record(prepared, reply)
            await emit(batch if with_tokens else without_tokens(batch))
            engine_wait.resume()

        def report(progress: PromptProgress) -> None:
            engine_wait.heard(watch.prompt_read(progress))
            engine_wait.resume()

        try:
            await attempt.run(passing, report)
        finally:
            engine_wait.end()
            watch.generated(attempt.usage.cached, attempt.output)
            if self._rate_limiter:
                self._rate_limiter.settle(watch.key, cached=0, output=attempt.output)

    async def _checked(self, task: Task) -> list[AnyEvent]:
        """The events of a whole reply that keeps what the request demands. The model has a few attempts, from the
        prompt that is cached by then."""
        problem, prepared = "", self._prepared
        for _ in range(MOST_ATTEMPTS):
            events: list[AnyEvent] = []

            async def keep(batch: list[AnyEvent], into: list[AnyEvent] = events) -> None:
                into += batch

            await self._generate(task.attempt(), keep, to_be_checked=True)
            problem = complaint(reply := fold(events), prepared.tools, prepared.params)
            if not problem:
                if self._record:
                    await self._record(msgspec.structs.replace(prepared, task=task), reply)
                return events if prepared.tells_tokens else without_tokens(events)
            log.warning("the reply does not meet the constraints of the request: %s", problem)
            task = task.again()
        raise Internal(f"the reply does not meet the constraints of the request: {problem}")
