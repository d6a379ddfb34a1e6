"""A service that replays a script: batches of events, pauses and failures, in the order given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace as Prepared
from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams, Image, Text, Thinking, ToolResult, ToolUse
from antiphon.api.errors import Failure, NotFound
from antiphon.api.events import (
    AnyEvent,
    Emit,
    Finished,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    ToolEnd,
    ToolStart,
    Usage,
)
from antiphon.serving.model import ModelCard

Step = list[AnyEvent] | float | Exception | asyncio.Event
"""What is said, how long nothing is, what goes wrong, or what is waited for."""

CARD = ModelCard(name="local-model", window=8192, max_output=4096, vision=False, thinking=True, created=1700000000)
SEEING = msgspec.structs.replace(CARD, name="seeing-model", vision=True)

_USAGE = Usage(prompt=7, cached=2, output=3, thinking=1)
TWO_CALLS: list[Step] = [
    [Started(_USAGE), ThinkingDelta("Hm. ")],
    [ThinkingDelta("Yes."), TextDelta("Let me look.")],
    [ToolStart("toolu_1", "look"), ToolDelta('{"where": ')],
    0.01,
    [ToolDelta('"hére"}'), ToolEnd(), ToolStart("toolu_2", "wait"), ToolEnd()],
    [Finished("tool_use", _USAGE)],
]
"""Thinking, text, and calls of `look` and `wait`."""


def plain(text: str = "Hello there", *, cached: int = 0) -> list[Step]:
    """A short answer in two batches."""
    half = len(text) // 2
    usage = Usage(prompt=7, cached=cached, output=3)
    return [
        [Started(Usage(prompt=7, cached=cached)), TextDelta(text[:half])],
        [TextDelta(text[half:]), Finished("end_turn", usage)],
    ]


class ScriptedService:
    """Serves `local-model` and `seeing-model`; any other name containing `missing` is not found."""

    def __init__(self, script: Sequence[Step] | None = None) -> None:
        self.script: list[Step] = list(script if script is not None else plain())
        self.prepared: list[tuple[str, Conversation, GenerationParams, str | None]] = []
        self.refusal: Failure | None = None
        self.prepare_delay = 0.0
        self.running = 0
        self.begun = asyncio.Event()
        self.closed = asyncio.Event()

    @property
    def conversation(self) -> Conversation:
        return self.prepared[-1][1]

    @property
    def generation(self) -> GenerationParams:
        return self.prepared[-1][2]

    def cards(self) -> list[ModelCard]:
        return [CARD, SEEING]

    def card(self, model: str) -> ModelCard:
        if "missing" in model:
            raise NotFound(f"model: {model}")
        return SEEING if "seeing" in model else CARD

    async def ready(self) -> list[tuple[str, bool, str]]:
        return [(card.name, self.refusal is None, "") for card in self.cards()]

    async def count(self, model: str, conversation: Conversation, generation: GenerationParams) -> int:
        return (await self.prepare(model, conversation, generation)).prompt_tokens

    async def compaction(self, model: str, conversation: Conversation, generation: GenerationParams) -> None:
        """No conversation outgrows its window."""

    async def prepare(
        self,
        model: str,
        conversation: Conversation,
        generation: GenerationParams,
        *,
        session: str | None = None,
        **ids: Any,
    ) -> Prepared:
        self.prepared.append((model, conversation, generation, session))
        if self.prepare_delay:
            await asyncio.sleep(self.prepare_delay)
        if self.refusal is not None:
            raise self.refusal
        return Prepared(card=self.card(model), prompt_tokens=7, usage=Usage(prompt=7), miss=None)

    async def run(self, prepared: Prepared, emit: Emit) -> None:
        self.running += 1
        self.closed.clear()
        self.begun.set()
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, list):
                    await emit(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    await asyncio.sleep(step)
        finally:
            self.running -= 1
            self.closed.set()


def shown(conversation: Conversation) -> str:
    """All text of a conversation, for looking for words in it."""
    lines = [conversation.system]
    for turn in conversation.turns:
        for part in turn.parts:
            match part:
                case Text(text) | Thinking(text):
                    lines.append(text)
                case ToolUse():
                    lines.append(part.input)
                case ToolResult():
                    lines += [inner.text for inner in part.parts if isinstance(inner, Text)]
                case Image():
                    lines.append(f"<{part.media_type}>")
    return "\n".join(lines)
