"""A served model as the service sees it. There are two kinds: one that is asked by token ids (`token_model`), and
one behind a chat server that makes the prompt and reads the output itself (`chat_model`).
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.api.errors import BadRequest
from antiphon.api.events import Emit, ReportProgress, Usage
from antiphon.api.reply import Reply
from antiphon.api.tokens import MOST_ALTERNATIVES
from antiphon.constraint.plan import HoldCalls, Part
from antiphon.engines import Health, Job
from antiphon.prompt.inspection import FindPredecessor, Inspection
from antiphon.prompt.prefix.predecessors import PromptRecord

_ALPHABET = string.ascii_letters + string.digits


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What surfaces may tell of a served model. `window` and `max_output` are in tokens, `created` in Unix seconds;
    `parsers` says which parsers are in force and why. `base` is the name of the model that this one is an adapter of
    (empty: it is none). Where `token_ids` are known, `alternatives` is how many of the likeliest tokens are told at
    most beside a log-probability (none: no log-probabilities are told); ids are below `vocabulary` (0: not known)."""

    name: str
    window: int
    max_output: int
    vision: bool
    thinking: bool
    created: int
    tool_call_parser: str = ""
    reasoning_parser: str = ""
    parsers: str = ""
    base: str = ""
    aliases: tuple[str, ...] = ()
    token_ids: bool = False
    alternatives: int | None = None
    vocabulary: int = 0

    def check_ids(self, ids: Sequence[int], where: str) -> None:
        """Raises BadRequest where a prompt, which came in this field, cannot be ids, or one is none of the model's."""
        if not self.token_ids:
            raise BadRequest(f"{where}: {self.name!r} is behind a chat server that takes no token ids")
        if self.vocabulary and (highest := max(ids, default=0)) >= self.vocabulary:
            raise BadRequest(f"{where}: {highest} is no token of {self.name!r}, whose ids are below {self.vocabulary}")

    def check_reported_ids(self, where: str) -> None:
        """Raises BadRequest where the ids of a reply, which this field asks for, are not known."""
        if not self.token_ids:
            raise BadRequest(f"{where}: {self.name!r} is behind a chat server that reports no token ids; leave it out")

    def check_logprobs(self, where: str, alternatives: int, count: str) -> None:
        """Raises BadRequest where the engine does not report log-probabilities, which the field `where` asks for, or
        not those of so many alternatives; their number is in the field `count`."""
        if self.alternatives is None:
            raise BadRequest(f"{where}: the engine behind {self.name!r} reports no log-probabilities; leave it out")
        if alternatives > (most := min(self.alternatives, MOST_ALTERNATIVES)):
            raise BadRequest(
                f"{count}: Input should be less than or equal to {most}, "
                f"as many as the engine behind {self.name!r} reports"
            )


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator chose for a model; empty or `auto` where the model decides. `chat_template` is its text."""

    name: str = ""
    aliases: tuple[str, ...] = ()
    tool_call_parser: str = "auto"
    reasoning_parser: str = "auto"
    chat_template: str = ""
    window: int = 0
    history_thinking: Literal["keep", "template"] = "keep"
    hold_calls: HoldCalls = "always"


def call_id() -> str:
    """A new id for a tool call, opaque and unique."""
    return "toolu_" + "".join(secrets.choice(_ALPHABET) for _ in range(24))


class Attempt(Protocol):
    """A reply on its way."""

    @property
    def usage(self) -> Usage:
        """The figures so far."""

    @property
    def output(self) -> int:
        """How many tokens were sampled so far."""

    @property
    def begun(self) -> bool:
        """Whether anything was emitted."""

    async def run(self, emit: Emit, report: ReportProgress) -> None:
        """Emit batches of events, the first beginning with `Started`, the last ending with `Finished`; an empty one
        says that the engine is at work on what cannot be told yet. Report how far the prompt is read, where the engine
        tells. A failure is raised as a `Failure`. Cancelling it, or raising from `emit`, frees the engine."""

    async def remember(self, reply: Reply) -> None:
        """The reply is whole: keep what will help the conversation's next request."""


class Task(Protocol):
    """A request that a model has taken: it fits, and only waits to be run. `unheld` says that nothing holds the model
    to what the request demands, so that the reply must be checked; `record` is what the prompt can be compared by with
    others, if it can be."""

    @property
    def usage(self) -> Usage:
        """The figures as long as the engine has told nothing."""

    @property
    def ids(self) -> Sequence[int]:
        """The ids of the prompt; none where only the engine knows them."""

    @property
    def job(self) -> Job | None:
        """What the engine is asked for; None where that is a chat server."""

    @property
    def unheld(self) -> bool: ...

    @property
    def record(self) -> PromptRecord | None: ...

    def freed(self) -> Task | None:
        """The same without what holds the model to the demand, for an engine that turns out not to take it; None where
        nothing does."""

    def again(self) -> Task:
        """The same, to be asked for once more: sampled otherwise, where it would come out the same."""

    def attempt(self) -> Attempt:
        """One reply to it."""


class Model(Protocol):
    """A model that is ready to serve. Conversations come as they were sent; each kind of model puts them in order."""

    @property
    def card(self) -> ModelCard:
        """What may be told of it."""

    @property
    def slots(self) -> int:
        """How many requests it works on at once, 0 where it does not say."""

    async def health(self) -> Health:
        """Whether its engine answers now. Never raises."""

    async def count(self, conversation: Conversation, params: GenerationParams) -> int:
        """The length in tokens of the prompt, also where it is longer than the window."""

    async def encode(self, text: str, suffix: str | None) -> list[int]:
        """The ids of a prompt that is text and nothing else; with a `suffix`, of one that asks for what stands between
        the two. BadRequest where these are not known."""

    async def decode(self, ids: Sequence[int]) -> str:
        """The text of ids of the model's."""

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes that each id stands for."""

    async def measure(self, texts: Sequence[str]) -> list[int]:
        """The length of each text in tokens, on its own."""

    async def inspect(
        self, conversation: Conversation, params: GenerationParams, find: FindPredecessor | None
    ) -> Inspection:
        """What the model would see, beside an earlier prompt if one is found. BadRequest where that is not known."""

    async def parts(self, conversation: Conversation, params: GenerationParams) -> tuple[Part, ...]:
        """What would become of each schema of a request. Raises BadRequest as `task` does."""

    async def task(self, conversation: Conversation, params: GenerationParams, session: str | None) -> Task:
        """A request, rendered, tokenised, fitted and constrained. `session` names who is speaking."""

    async def close(self) -> None:
        """Let go of the engine."""
