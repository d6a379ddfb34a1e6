"""A request to a chat server, ready to be sent, and the reply to it on its way."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from antiphon.api.citations import Source
from antiphon.api.conversation import GenerationParams, Tool
from antiphon.api.errors import BadRequest
from antiphon.api.events import AnyEvent, Emit, ReportProgress, Started, Usage
from antiphon.api.reply import Reply
from antiphon.engines.chat import ChatServer, Chunk, Used
from antiphon.parsing.arguments import Signature
from antiphon.parsing.deltas import Deltas
from antiphon.parsing.formats import Format, Reasoning
from antiphon.parsing.parser import Parser
from antiphon.parsing.stopping import finished, until_first_call
from antiphon.prompt.prefix.predecessors import PromptRecord
from antiphon.serving.model import call_id

log = logging.getLogger("antiphon")


class ChatTask(msgspec.Struct, frozen=True, kw_only=True):
    """A request, ready to be sent: the first of the `bodies` that the server does not refuse. `format` and `reasoning`
    read what the server leaves in the text of calls and thinking. `continues` says that the reply goes on with what the
    last turn begins."""

    server: ChatServer
    format: Format
    reasoning: Reasoning
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
        params = task.params
        tools = {tool.name: Signature(tool.schema) for tool in task.tools}
        parser = Parser(
            task.format,
            task.reasoning,
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
                async with aclosing(self._task.server.stream(body)) as reads:
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
            thinking, text = delta.thinking, delta.text
            if thinking:
                self._deltas.words(thinking, thinking=True)
            if text:
                self._deltas.words(text, thinking=False)
            self._refusal += delta.refusal or ""
            for call in delta.tool_calls or ():
                function = call.function
                arguments = function.arguments if function else None
                written = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or "").decode()
                name = function.name if function else None
                self._deltas.call(call.index, call.id, name, written if arguments else "")
            if chunk.usage is None and (thinking or text or delta.refusal or delta.tool_calls):
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
