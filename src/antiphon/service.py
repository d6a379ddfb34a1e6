"""The path of a request: render, tokenise, fit, constrain, generate, parse. A newcomer starts here."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

import msgspec

from antiphon.conversation import Conversation, Generation
from antiphon.events import AnyEvent


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What surfaces may tell of a served model. `created` is in Unix seconds."""

    name: str
    window: int
    max_output: int
    vision: bool
    thinking: bool
    created: int


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has passed every check and only waits to be run: its true prompt length in tokens."""

    card: ModelCard
    prompt_tokens: int


class Service(Protocol):
    """What surfaces see of everything behind them."""

    def cards(self) -> list[ModelCard]:
        """The served models, the default one first."""

    def card(self, model: str) -> ModelCard:
        """The model that a client's `model` string means. Raises NotFound, listing what is served."""

    async def prepare(
        self, model: str, conversation: Conversation, generation: Generation, *, session: str | None = None
    ) -> Prepared:
        """Render, tokenise, fit and constrain. Every failure that a status can tell is raised here."""

    def run(self, prepared: Prepared) -> AsyncGenerator[list[AnyEvent], None]:
        """Generate and parse. The first batch begins with `Started`; the last ends with `Finished`. A failure is
        raised as a `Failure`. Closing the generator frees the engine."""
