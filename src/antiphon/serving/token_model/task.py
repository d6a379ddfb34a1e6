"""A request to a model that is asked by token ids, ready to be generated."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.api.events import Emit, ReportProgress, Usage
from antiphon.api.reply import Reply
from antiphon.engines import Engine, Job
from antiphon.prompt.prefix.predecessors import PromptRecord
from antiphon.prompt.prompter import Prompt, Prompter
from antiphon.serving.token_model.generation import GenerationPlan, GenerationRun


class TokenTask(msgspec.Struct, frozen=True, kw_only=True):
    """A request, ready to be generated. `unheld` says that no grammar holds the model to all that it `demands`. A
    prompt that came as ids has no `record`."""

    engine: Engine
    prompter: Prompter
    prompt: Prompt
    plan: GenerationPlan
    demands: bool
    unheld: bool
    record: PromptRecord | None

    @property
    def ids(self) -> Sequence[int]:
        """The ids of the prompt; none where there are pictures in it, whose ids only the engine knows."""
        return () if self.prompt.pictures else self.prompt.ids

    @property
    def job(self) -> Job:
        """What the engine is asked for."""
        return self.plan.job

    @property
    def usage(self) -> Usage:
        """The figures as long as the engine has told nothing."""
        length = self.prompt.length
        return Usage(prompt=length, created=self.plan.created(length, 0))

    def freed(self) -> TokenTask | None:
        """The same without its grammar, if it has one."""
        if self.plan.job.grammar is None:
            return None
        job = msgspec.structs.replace(self.plan.job, grammar=None)
        free = msgspec.structs.replace(
            self.plan, job=job, answer_grammar=None, begins=(), held=False, checked=self.plan.offered
        )
        return msgspec.structs.replace(self, plan=free, unheld=self.demands)

    def again(self) -> TokenTask:
        """The same with other luck."""
        job = msgspec.structs.replace(self.plan.job, sampling=self.plan.job.sampling.otherwise())
        return msgspec.structs.replace(self, plan=msgspec.structs.replace(self.plan, job=job))

    def attempt(self) -> _Attempt:
        """One generation."""
        return _Attempt(self)


class _Attempt:
    def __init__(self, task: TokenTask) -> None:
        self._task = task
        self._run = GenerationRun(task.plan, task.engine)

    @property
    def usage(self) -> Usage:
        return self._run.usage

    @property
    def output(self) -> int:
        return self._run.output

    @property
    def begun(self) -> bool:
        return self._run.begun

    async def run(self, emit: Emit, report: ReportProgress) -> None:
        await self._run.run(emit, report)

    async def remember(self, reply: Reply) -> None:
        sampled = await self._run.sampled() if self._task.record else None
        if sampled is not None:
            await self._task.prompter.remember(self._task.prompt, reply, sampled)
