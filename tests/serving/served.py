"""A service over the scripted engine, for tests that need no socket."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams, Text, Tool, Turn
from antiphon.api.events import AnyEvent
from antiphon.api.reply import Reply, fold
from antiphon.engines import Description
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Prepared, Service
from antiphon.serving.token_model import load


class Seeing(Scripted):
    """An engine that takes pictures."""

    async def describe(self) -> Description:
        return msgspec.structs.replace(await super().describe(), vision=True, media_marker="<image>")


async def served(
    *rules: Rule, choices: Choices | None = None, kind: type[Scripted] = Scripted, **script: Any
) -> tuple[Service, Scripted]:
    """A service whose one model follows these rules, and its engine."""
    engine = kind(Script(rules=rules or Script().rules, **script))
    return Service([await load(engine, choices or Choices())]), engine


def said(*texts: str, **fields: Any) -> Conversation:
    """A conversation of these texts, the user's and the assistant's in turn."""
    turns = tuple(
        Turn(role="assistant" if index % 2 else "user", parts=(Text(text),)) for index, text in enumerate(texts)
    )
    return Conversation(turns=turns, **fields)


def tool(name: str = "look", **properties: Any) -> Tool:
    """A tool with these properties, all required."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return Tool(name=name, schema=schema, description="Looks.")


async def emitted(service: Service, prepared: Prepared) -> list[AnyEvent]:
    """Every event of a prepared request."""
    found: list[AnyEvent] = []

    async def take(batch: list[AnyEvent]) -> None:
        found.extend(batch)

    await service.run(prepared, take)
    return found


async def events(
    service: Service, conversation: Conversation, wanted: GenerationParams | None = None
) -> list[AnyEvent]:
    """Every event of the reply."""
    prepared: Prepared = await service.prepare("claude-test", conversation, wanted or GenerationParams(max_tokens=1000))
    return await emitted(service, prepared)


async def reply(service: Service, conversation: Conversation, wanted: GenerationParams | None = None) -> Reply:
    """The whole reply."""
    return fold(await events(service, conversation, wanted))
