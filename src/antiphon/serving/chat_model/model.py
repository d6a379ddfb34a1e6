"""A model behind a chat server: the prompt is made there, and the output read there. What comes back is held to the
same laws as any other reply, and what was demanded of it is checked."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from antiphon.api.citations import Source
from antiphon.api.conversation import Conversation, GenerationParams, Tool, callable_tools
from antiphon.api.errors import BadRequest
from antiphon.api.events import AnyEvent, Emit, ReportProgress, Started, Usage
from antiphon.api.offload import LARGE, offload
from antiphon.api.reply import Reply
from antiphon.constraint.check import demands
from antiphon.constraint.plan import Part
from antiphon.engines import Health
from antiphon.engines.chat import ChatServer, Chunk, Used
from antiphon.parsing.arguments import Signature
from antiphon.parsing.deltas import Deltas
from antiphon.parsing.formats import Format, Reasoning, format_named, reasoning_named
from antiphon.parsing.parser import Parser
from antiphon.parsing.stopping import finished, until_first_call
from antiphon.prompt import chat_messages
from antiphon.prompt.inspection import FindPredecessor, Inspection
from antiphon.prompt.prefix.predecessors import PromptRecord
from antiphon.prompt.tokens import room
from antiphon.prompt.turns import repaired
from antiphon.serving.model import Choices, ModelCard, call_id

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
            f"{self.card.name} is behind a chat server that makes the prompt itself, so it is not known here"
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
            model=self,
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


class ChatTask(msgspec.Struct, frozen=True, kw_only=True):
    """A request, ready to be sent: the first of the `bodies` that the server does not refuse. `continues` says that the
    reply goes on with what the last turn begins."""

    model: ChatModel
    bodies: tuple[dict[str, Any], ...]
    tools: tuple[Tool, ...]
    sources: tuple[Source, ...]
    continues: bool
    params: GenerationParams
    usage: Usage
    window_bound: bool
    unheld: bool
    record: PromptRecord | None = None
    ids: tuple[int, ...] = ()
    job: None = None

    def freed(self) -> ChatTask | None:
        """Nothing here holds the model for certain, so nothing can be let go of."""
        return None

    def again(self) -> ChatTask:
        """The same with other luck."""
        given = self.params.sampling.otherwise()
        luck = {name: value for name in ("temperature", "seed") if (value := getattr(given, name)) is not None}
        return msgspec.structs.replace(self, bodies=tuple(body | luck for body in self.bodies))

    def attempt(self) -> _Attempt:
        """One reply."""
        return _Attempt(self)


class _Attempt:
    def __init__(self, task: ChatTask) -> None:
        self._task = task
        model, params = task.model, task.params
        tools = {tool.name: Signature(tool.schema) for tool in task.tools}
        parser = Parser(
            model.format,
            model.reasoning,
            tools,
            new_id=call_id,
            stop=params.stop_sequences,
            bare_calls=not task.continues and params.output_schema is None,
            sources=task.sources,
        )
        self._parser = parser
        self._deltas = Deltas(parser, tools, call_id)
        self._end = self._refusal = ""
        self.begun = False
        self.usage = task.usage

    @property
    def output(self) -> int:
        """How many tokens were sampled so far."""
        return self.usage.output

    async def run(self, emit: Emit, report: ReportProgress) -> None:
        """Emit batches of events, as the server's reads bring them."""
        async with aclosing(self._chunks()) as reads:
            async for chunks in reads:
                for chunk in chunks:
                    self._take(chunk)
                if batch := self._begun(self._deltas.take()):
                    await emit(batch)
                enough = self._deltas.settled and not self._task.params.tool_choice.parallel
                if self._deltas.over or enough:
                    break
        await emit(self._finished())

    async def _chunks(self) -> AsyncGenerator[list[Chunk], None]:
        begun = False
        for body in self._task.bodies:
            try:
                async with aclosing(self._task.model.server.stream(body)) as reads:
                    async for chunks in reads:
                        begun = True
                        yield chunks
                return
            except BadRequest as refusal:
                if begun or body is self._task.bodies[-1]:
                    raise
                log.debug("the chat server takes no strict tools: %s", refusal)

    @property
    def _calls(self) -> int:
        return self._deltas.calls + self._parser.calls

    def _take(self, chunk: Chunk) -> None:
        if chunk.usage is not None:
            self._count(chunk.usage)
        delta = chunk.delta
        if delta is not None:
            thinking = delta.reasoning_content or delta.reasoning
            if thinking:
                self._deltas.words(thinking, thinking=True)
            if delta.content:
                self._deltas.words(delta.content, thinking=False)
            self._refusal += delta.refusal or ""
            for call in delta.tool_calls or ():
                function = call.function
                arguments = function.arguments if function else None
                text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or "").decode()
                self._deltas.call(call.index, call.id, function.name if function else None, text if arguments else "")
            if chunk.usage is None and (thinking or delta.content or delta.refusal or delta.tool_calls):
                # As long as the server tells no figures, an event is taken for a token.
                more = {"output": self.usage.output + 1, "thinking": self.usage.thinking + bool(thinking)}
                self.usage = msgspec.structs.replace(self.usage, **more)
        if chunk.end:
            self._end = chunk.end

    def _count(self, used: Used) -> None:
        cached = used.prompt_tokens_details.cached_tokens if used.prompt_tokens_details else None
        thought = used.completion_tokens_details.reasoning_tokens if used.completion_tokens_details else None
        usage, prompt = self.usage, used.prompt_tokens or self.usage.prompt
        self.usage = msgspec.structs.replace(
            usage,
            prompt=prompt,
            cached=min(cached or usage.cached, prompt),
            output=used.completion_tokens if used.completion_tokens is not None else usage.output,
            thinking=thought if thought is not None else usage.thinking,
        )

    def _begun(self, events: list[AnyEvent]) -> list[AnyEvent]:
        if self.begun:
            return events
        self.begun = True
        return [Started(self.usage), *events]

    def _finished(self) -> list[AnyEvent]:
        events = self._deltas.finish()
        if not (self._task.params.tool_choice.parallel or self._deltas.calls):
            events, _ = until_first_call(events)
        events = self._begun(events)
        end = finished(
            self.usage,
            limit=self._end == "length",
            window=self._task.window_bound,
            sequence=self._parser.stop_sequence,
            calls=self._calls,
            cut_call=self._deltas.cut_call or self._parser.cut_call,
            refusal=self._refusal if self._refusal or self._end == "content_filter" else None,
        )
        return [*events, end]

    async def remember(self, reply: Reply) -> None:
        """The server remembers by itself."""


async def load(server: ChatServer, choices: Choices) -> ChatModel:
    """The model that the server runs. Raises ValueError when a choice does not fit it."""
    name, window, created = await server.describe()
    if not (window or choices.window):
        log.warning(
            "the chat server does not tell its context length; %d is assumed (--context-length)", _UNKNOWN_WINDOW
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
