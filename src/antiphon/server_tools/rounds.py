"""One message in several rounds: the model calls, the tool runs here, its result joins the conversation, the model
goes on.

A layer above single generations. Each round is a request of its own to the model, so that no slot of the engine is
held while a tool runs; the conversation's name finds the slot, and with it the cache, again. What the rounds say is
told as the blocks of one message. Calls of one round are told before their results, and a result ends its round: by
that `history.py` finds the rounds again in the message that the client sends back, and the prompts of both are the
same.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from antiphon.api.citations import written
from antiphon.api.conversation import (
    Conversation,
    GenerationParams,
    Part,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolUse,
    Turn,
)
from antiphon.api.errors import PromptTooLong
from antiphon.api.events import (
    AnyEvent,
    Emit,
    Finished,
    Run,
    ServerResult,
    ServerToolStart,
    Started,
    StopReason,
    ToolStart,
    Usage,
)
from antiphon.api.offload import offload
from antiphon.api.reply import Fold, Reply, TextBlock, ThinkingBlock, ToolBlock, parsed_input
from antiphon.api.seal import Seal
from antiphon.prompt.citations.labelling import Sources
from antiphon.server_tools.result import slow, told_result
from antiphon.server_tools.tool import COUNTED, Call, Declared, Fields, Session, ToolFailed

log = logging.getLogger("antiphon")

Further = Callable[[Conversation, GenerationParams], Awaitable[Run]]
"""Prepares a further round. Raises PromptTooLong when it does not fit the window."""
Note = Callable[[str, str, float], None]
"""Takes down a call that is over: the tool's family, its error code (empty: none), the seconds it took."""

_SUMMED = ("prompt", "cached", "created", "output", "thinking")


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How far one request may go: so many `rounds` of tools before the message pauses, so many `seconds` for a call, so
    many `calls` in one round."""

    rounds: int = 10
    seconds: float = 30.0
    calls: int = 16


class CallRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every call of a request. `seal` seals what goes through the client; a model that `sees` gets the
    pictures in results; its `window` has so many tokens (0: unknown); `allow` takes a call in, by the allowance of the
    `key`; `note` takes down what came of it."""

    seal: Seal
    bounds: Bounds
    sees: bool = False
    window: int = 0
    key: str = ""
    allow: Callable[[], bool] | None = None
    note: Note | None = None


class Rounds:
    """The rounds of one request. `declared` are the tools that run here, by the names that the model knows them by;
    `deferred` those that a result may bring up, `searchable` those that a search is made among. `further` prepares a
    round; `session` is what the calls share. `sources` are those there are to cite, and what is found joins them (none:
    it cannot be cited); `opening` are blocks that the message begins with."""

    def __init__(
        self,
        conversation: Conversation,
        params: GenerationParams,
        rules: CallRules,
        *,
        declared: Mapping[str, Declared],
        deferred: Mapping[str, Tool] = MappingProxyType({}),
        searchable: Mapping[str, Tool] = MappingProxyType({}),
        further: Further,
        session: Session | None = None,
        sources: Sources | None = None,
        opening: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._conversation = conversation
        self._params = params
        self._rules = rules
        self._declared = declared
        self._deferred = dict(deferred)
        self._searchable = searchable
        self._further = further
        self._session = session or Session()
        self._sources = sources
        self._opening = opening
        self._uses: Counter[str] = Counter()
        self._counts = dict.fromkeys(COUNTED, 0) if any(each.counted for each in declared.values()) else {}
        self._rounds: list[Usage] = []
        self._one_by_one = asyncio.Lock()
        self._clock = asyncio.get_running_loop().time

    async def run(self, first: Run, emit: Emit) -> None:
        """Emit batches of events, the first beginning with `Started`, the last ending with `Finished`. `first` is the
        first round, which was prepared already. Cancelling it ends whatever runs: the engine, or the tools."""
        generate = first
        for number in range(1, self._rules.bounds.rounds + 1):
            reply = await self._round(generate, emit)
            calls = self._calls(reply)
            results = await self.results(calls, emit) if calls else []
            reason = self._end(reply, calls, number)
            if reason is None:
                await self._grow(reply, results)
                try:
                    generate = await self._further(self._conversation, self._wanted_next())
                    continue
                except PromptTooLong:
                    # What the tools brought does not fit the window, and the client has been told it already.
                    reason = "model_context_window_exceeded"
            await emit([self._finished(reply, reason)])
            return

    async def _round(self, generate: Run, emit: Emit) -> Reply:
        """One reply of the model's. What is told of it has no end, and only the first has a beginning."""
        folding = Fold()

        async def passing(batch: list[AnyEvent]) -> None:
            await folding.take(batch)
            if told := [event for each in batch for event in self._translated(each)]:
                await emit(told)

        await generate(passing)
        reply = folding.reply()
        self._rounds.append(reply.usage)
        return reply

    def _translated(self, event: AnyEvent) -> Sequence[AnyEvent]:
        kind = type(event)
        if kind is ToolStart and (declared := self._declared.get(event.name)):  # type: ignore[union-attr]
            id = declared.wire_id(event.id)  # type: ignore[union-attr]
            return [ServerToolStart(id, {**declared.use, "id": id, "input": {}})]
        if kind is Started and not self._rounds:
            return [event, *(ServerResult(dict(block)) for block in self._opening)]
        return [] if kind in (Finished, Started) else [event]

    def _end(self, reply: Reply, calls: list[ToolBlock], number: int) -> StopReason | None:
        """Why the message ends with this round; None when it goes on."""
        theirs = any(isinstance(block, ToolBlock) and block.name not in self._declared for block in reply.blocks)
        if theirs or not calls:
            return reply.reason
        if number == self._rules.bounds.rounds:
            return "pause_turn"
        left = self._left()
        return "max_tokens" if left is not None and left < 1 else None

    def _calls(self, reply: Reply) -> list[ToolBlock]:
        """The calls of a round that are to be run here. Where it was cut, none: what is left of it is not meant."""
        if reply.reason != "tool_use":
            return []
        return [block for block in reply.blocks if isinstance(block, ToolBlock) and block.name in self._declared]

    async def results(self, blocks: list[ToolBlock], emit: Emit) -> list[ServerResult]:
        """The results of the calls of one round, each told in its turn; all are run at once."""
        running = [asyncio.ensure_future(self._result(block, place)) for place, block in enumerate(blocks)]
        try:
            for task in running:
                await emit([await task])
            return [task.result() for task in running]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _result(self, block: ToolBlock, place: int) -> ServerResult:
        declared = self._declared[block.name]
        id, began = declared.wire_id(block.id), self._clock()
        code = ""
        try:
            fields = await self._run(declared, block, id, place)
        except ToolFailed as failure:
            code, fields = failure.code, declared.failed(failure.code, failure.message)
        if self._rules.note is not None:
            self._rules.note(declared.family, code, self._clock() - began)
        return ServerResult({"type": declared.result, "tool_use_id": id, **fields})

    async def _run(self, declared: Declared, block: ToolBlock, id: str, place: int) -> Fields:
        if not block.complete:
            # The model ended its turn in the midst of the call, and may make it again.
            raise ToolFailed("invalid_tool_input", f"the call of {block.name} broke off")
        self._uses[block.name] += 1
        if declared.max_uses is not None and self._uses[block.name] > declared.max_uses:
            raise ToolFailed("max_uses_exceeded", f"{block.name} may be used {declared.max_uses} times in a request")
        if place >= self._rules.bounds.calls or not (self._rules.allow is None or self._rules.allow()):
            raise ToolFailed("too_many_requests", "there were too many calls of tools that run on the server")
        if declared.counted:
            self._counts[declared.counted] += 1
        call = Call(
            id=id,
            input=parsed_input(block),
            conversation=self._conversation,
            seal=self._rules.seal,
            searchable=self._searchable,
            key=self._rules.key,
            window=self._rules.window,
            session=self._session,
        )
        try:
            turn = self._one_by_one if declared.one_by_one else nullcontext()
            async with turn, asyncio.timeout(self._rules.bounds.seconds):
                return await declared.run(call)
        except TimeoutError:
            message = f"{block.name} took longer than {self._rules.bounds.seconds:g} seconds"
            raise ToolFailed(declared.late, message) from None
        except ToolFailed:
            raise
        except Exception:
            log.exception("the server tool %s failed", declared.family)
            raise ToolFailed("unavailable", f"{block.name} failed on the server") from None

    async def _grow(self, reply: Reply, results: Iterable[ServerResult]) -> None:
        """The conversation with this round in it, as it will come back from the client."""
        said = Turn(role="assistant", parts=tuple(self._part(block) for block in reply.blocks))
        before = self._conversation
        turns = list(before.turns)
        if before.prefill:
            said = Turn(role="assistant", parts=(*turns.pop().parts, *said.parts))
        new_tools: list[Tool] = []
        answers = []
        for result in results:
            reading = partial(
                told_result, result.block, self._rules.seal, self._reveal, sees=self._rules.sees, sources=self._sources
            )
            part, brought = await offload(slow(result.block), reading)
            answers.append(part)
            new_tools += brought
        turns += [said, Turn(role="user", parts=tuple(answers))]
        tools = (*before.tools, *(msgspec.structs.replace(tool, in_turns=True) for tool in new_tools))
        sources = before.sources if self._sources is None else self._sources.all()
        self._conversation = msgspec.structs.replace(before, turns=tuple(turns), tools=tools, sources=sources)

    def _reveal(self, name: str) -> Tool | None:
        return self._deferred.pop(name, None)

    def _part(self, block: object) -> Part:
        match block:
            case TextBlock(text, citations):
                return Text(written(text, citations))
            case ThinkingBlock(text):
                return Thinking(text)
            case ToolBlock():
                declared = self._declared.get(block.name)
                id = declared.wire_id(block.id) if declared else block.id
                return ToolUse(id=id, name=block.name, input=block.input)
        raise AssertionError(f"a model does not write {block!r}")

    def _left(self) -> int | None:
        most = self._params.max_tokens
        return None if most is None else most - sum(each.output for each in self._rounds)

    def _wanted_next(self) -> GenerationParams:
        """What is wanted of a further round. That a tool must be called was kept by the first."""
        choice = self._params.tool_choice
        if choice.mode in ("any", "tool"):
            choice = ToolChoice(parallel=choice.parallel)
        return msgspec.structs.replace(self._params, max_tokens=self._left(), tool_choice=choice)

    def _finished(self, reply: Reply, reason: StopReason) -> Finished:
        sums = {name: sum(getattr(each, name) for each in self._rounds) for name in _SUMMED}
        usage = Usage(**sums, server_tools=self._counts, rounds=tuple(self._rounds))
        return Finished(
            reason,
            usage,
            reply.stop_sequence if reason == reply.reason else None,
            reply.explanation,
            self._session.container,
            reply.edits,
        )
