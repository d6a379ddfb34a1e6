"""A request on its way: checked, and ready to be run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.api.context_management import AppliedEdit
from antiphon.api.conversation import GenerationParams, Tool
from antiphon.api.events import Usage
from antiphon.prompt.prefix.predecessors import CacheLoss, CacheMiss, Continuation
from antiphon.serving.model import ModelCard, Task


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has passed every check and only waits to be run: its prompt's length in tokens, and what `run`
    needs. `edits` are what was cleared of it. `continuation` tells what the prompt goes on from, `miss` why not from
    the previous message's, as far as that was asked. A `further` round is one of a request that was taken in. It
    `tells_tokens` if the client asked for them, and not only who records them."""

    card: ModelCard
    task: Task
    tools: tuple[Tool, ...]
    params: GenerationParams
    continuation: Continuation | None
    miss: CacheMiss | None
    low_priority: bool = False
    further: bool = False
    tells_tokens: bool = False
    edits: tuple[AppliedEdit, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """The length of the prompt."""
        return self.usage.prompt

    @property
    def prompt_ids(self) -> Sequence[int]:
        """The ids of the prompt; none where only the engine knows them."""
        return self.task.ids

    @property
    def usage(self) -> Usage:
        """The figures as long as the engine has told nothing."""
        return self.task.usage

    def lost(self, cached: int) -> CacheLoss | None:
        """What was lost where fewer tokens were re-used than the prompt before this one had."""
        return self.continuation.lost(cached) if self.continuation else None
