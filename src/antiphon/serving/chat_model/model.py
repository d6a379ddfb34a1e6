"""The model: from a request to the body of a chat request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams, callable_tools
from antiphon.api.errors import BadRequest
from antiphon.api.events import Usage
from antiphon.api.offload import LARGE, offload
from antiphon.constraint.check import demands
from antiphon.constraint.plan import Part
from antiphon.engines import Health
from antiphon.engines.chat import ChatServer
from antiphon.parsing.formats import Format, Reasoning, format_named, reasoning_named
from antiphon.prompt import chat_messages
from antiphon.prompt.inspection import FindPredecessor, Inspection
from antiphon.prompt.tokens import room
from antiphon.prompt.turns import repaired
from antiphon.serving.chat_model.task import ChatTask
from antiphon.serving.model import Choices, ModelCard

log = logging.getLogger("antiphon")

_UNKNOWN_WINDOW = 32768
_CHARACTERS = 4
"""Characters that are taken for a token where nobody counts."""


class ChatModel(msgspec.Struct, frozen=True, kw_only=True):
    """The model. `format` and `reasoning` read what the server leaves in the text of calls and thinking."""

    card: ModelCard
    server: ChatServer
    name: str
    format: Format
    reasoning: Reasoning
    slots: int = 0

    async def health(self) -> Health:
        """Whether the server answers now."""
        return await self.server.health()

    async def count(self, conversation: Conversation, params: GenerationParams) -> int:
        """The length of the prompt in tokens: by the server where it counts, else an estimate."""
        body = await self._request(conversation, params)
        counted = await self.server.count(body)
        return _estimated(body) if counted is None else counted

    async def encode(self, text: str, suffix: str | None) -> list[int]:
        """Never: prompts are made by the server."""
        raise BadRequest(f"prompt: {self.card.name!r} is behind a chat server, which takes conversations only")

    async def decode(self, ids: Sequence[int]) -> str:
        """Never: the ids are not known here."""
        raise BadRequest(f"prompt: {self.card.name!r} is behind a chat server that takes no token ids")

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """Never, as `decode`."""
        raise BadRequest(f"prompt: {self.card.name!r} is behind a chat server that takes no token ids")

    async def measure(self, texts: Sequence[str]) -> list[int]:
        """An estimate: the server counts whole requests only."""
        return [len(text.encode("utf-8", "replace")) // _CHARACTERS for text in texts]

    async def inspect(
        self, conversation: Conversation, params: GenerationParams, find: FindPredecessor | None
    ) -> Inspection:
        """Never: the prompt is not known here."""
        raise BadRequest(
            f"{self.card.name} is behind a chat server that makes the prompt itself, so this server cannot show it"
        )

    async def parts(self, conversation: Conversation, params: GenerationParams) -> tuple[Part, ...]:
        """What is demanded is checked, whatever the server holds its model to."""
        reason = "the chat server makes the reply"
        output = [Part(name="", free=reason)] if params.output_schema is not None else []
        return (*(Part(name=tool.name, free=reason) for tool in callable_tools(conversation, params)), *output)

    async def task(self, conversation: Conversation, params: GenerationParams, session: str | None) -> ChatTask:
        """The request as the server takes it. Where nobody counts, only the server can say whether it fits."""
        # vLLM holds the input of a forced call to its schema for strict tools only.
        forced = params.tool_choice.mode in ("any", "tool")
        body = await self._request(conversation, params, strict=forced)
        counted = await self.server.count(body)
        prompt = _estimated(body) if counted is None else counted
        least = prompt if counted is not None else min(prompt, self.card.window - 1)
        limit, window_bound = room(least, params.max_tokens, self.card.window)
        more = {"max_tokens": limit, "stream": True, "stream_options": {"include_usage": True}}
        looser = await self._request(conversation, params) if forced else body
        return ChatTask(
            server=self.server,
            format=self.format,
            reasoning=self.reasoning,
            bodies=tuple(each | more for each in ([body, looser] if looser != body else [body])),
            tools=callable_tools(conversation, params),
            sources=conversation.sources,
            continues=conversation.prefill,
            params=params,
            usage=Usage(prompt=prompt),
            window_bound=window_bound,
            unheld=demands(params),
        )

    async def _request(
        self, conversation: Conversation, params: GenerationParams, *, strict: bool = False
    ) -> dict[str, Any]:
        turns, tools = repaired(conversation), conversation.callable_tools
        writing = partial(chat_messages.request, turns, tools, params, strict=strict)
        return {"model": self.name, **await offload(conversation.size > LARGE, writing)}

    async def close(self) -> None:
        """Let go of the server."""
        await self.server.close()


def _estimated(body: dict[str, Any]) -> int:
    prompt = {key: body[key] for key in ("messages", "tools") if key in body}
    return max(len(msgspec.json.encode(prompt)) // _CHARACTERS, 1)


async def load(server: ChatServer, choices: Choices) -> ChatModel:
    """The model that the server runs. Raises ValueError when a choice does not fit it."""
    name, window, created = await server.describe()
    if not (window or choices.window):
        log.warning(
            "the chat server does not report its context length; %d is assumed (set it with --context-length)",
            _UNKNOWN_WINDOW,
        )
    window = min(filter(None, (window, choices.window)), default=_UNKNOWN_WINDOW)
    format = format_named("plain" if choices.tool_call_parser in ("", "auto") else choices.tool_call_parser)
    reasoning = reasoning_named("none" if choices.reasoning_parser in ("", "auto") else choices.reasoning_parser)
    card = ModelCard(
        # Some servers call a model by the path of its file.
        name=choices.name or (Path(name).stem if name.startswith("/") else name),
        aliases=choices.aliases,
        window=window,
        max_output=window,
        # Only the server knows; what it does not take it refuses.
        vision=True,
        thinking=True,
        created=created,
        tool_call_parser=format.name,
        reasoning_parser=reasoning.name,
        parsers="those of the chat server"
        + (f", then {format.name} for calls left in the text" if format.name != "plain" else "")
        + (f", then {reasoning.name} for thinking left in the text" if reasoning.name != "none" else ""),
    )
    return ChatModel(card=card, server=server, name=name, format=format, reasoning=reasoning)
