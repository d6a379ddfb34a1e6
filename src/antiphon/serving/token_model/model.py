"""The model: from a request to a task for its engine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams, callable_tools
from antiphon.api.errors import BadRequest
from antiphon.constraint.check import demands
from antiphon.constraint.dialects import LoweredGrammars
from antiphon.constraint.plan import Part, Speech
from antiphon.engines import Description, Engine, Health, Job
from antiphon.observability import request_watch
from antiphon.parsing.arguments import Signature
from antiphon.parsing.formats import Format, Reasoning, format_named, reasoning_named
from antiphon.parsing.parser import Parser
from antiphon.prompt import inspection
from antiphon.prompt.infill import infill_of
from antiphon.prompt.inspection import FindPredecessor, Inspection
from antiphon.prompt.prefix.predecessors import conversation_name
from antiphon.prompt.prefix.transcript import TranscriptStore
from antiphon.prompt.prompter import Prompt, Prompter
from antiphon.prompt.token_prompt import TAIL, prompt_of_ids
from antiphon.prompt.tokens import room, thinking_room
from antiphon.prompt.turns import repaired
from antiphon.serving.model import ModelCard, call_id
from antiphon.serving.token_model.generation import GenerationPlan
from antiphon.serving.token_model.grammar_cache import GrammarCache
from antiphon.serving.token_model.task import TokenTask

log = logging.getLogger("antiphon")

_AT_ONCE = 16
"""Texts that are measured at the same time."""


class TokenModel(msgspec.Struct, frozen=True, kw_only=True):
    """The model. `token_ids` holds the markers and other control tokens that may stand in its output, if they are one
    token each; `adapter` is the one that it is generated with (empty: none)."""

    card: ModelCard
    engine: Engine
    description: Description
    prompter: Prompter
    format: Format
    reasoning: Reasoning
    visible: tuple[str, ...]
    token_ids: dict[str, int]
    grammars: GrammarCache
    adapter: str = ""

    def adapted(self, adapter: str, transcripts: TranscriptStore | None = None) -> TokenModel:
        """The model with this adapter of its engine, as one that is served by the adapter's name."""
        name = self.card.name
        card = msgspec.structs.replace(self.card, name=adapter, aliases=(f"{name}:{adapter}",), base=name)
        return msgspec.structs.replace(self, card=card, adapter=adapter, prompter=self.prompter.apart(transcripts))

    @property
    def slots(self) -> int:
        """How many generations the engine works on at once, 0 where it does not say."""
        return self.description.slots

    async def health(self) -> Health:
        """Whether the engine answers now."""
        return await self.engine.health()

    async def count(self, conversation: Conversation, params: GenerationParams) -> int:
        """The length of the prompt in tokens."""
        request_watch.watch().enter("tokenise")
        return (await self._prompt(conversation, params)).length

    async def _prompt(self, conversation: Conversation, params: GenerationParams) -> Prompt:
        if not conversation.ids:
            return await self.prompter.prompt(repaired(conversation), params.thinking)
        tail = await self.decode(conversation.ids[-TAIL:])
        return prompt_of_ids(conversation.ids, starts_thinking=not params.raw and self.reasoning.opened_by(tail))

    async def encode(self, text: str, suffix: str | None) -> list[int]:
        """The ids of a text, control tokens and all."""
        segments, start = [text], list(self.description.start)
        if suffix is not None:
            infill = infill_of(self.description.control_tokens)
            if infill is None:
                raise BadRequest(f"suffix: {self.card.name!r} has no tokens for filling in the middle; leave it out")
            segments = infill.segments(text, suffix)
        ids = await self.engine.tokenise(segments)
        return ids if ids[: len(start)] == start else [*start, *ids]

    async def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, a control token's too."""
        return b"".join(await self.spell(ids)).decode("utf-8", "replace")

    async def spell(self, ids: Sequence[int]) -> list[bytes]:
        """By the engine."""
        return await self.engine.spell(ids)

    async def measure(self, texts: Sequence[str]) -> list[int]:
        """By the engine's tokenizer, which takes control tokens' texts for what they spell: a few tokens too few."""
        lengths: list[int] = []
        for first in range(0, len(texts), _AT_ONCE):
            some = texts[first : first + _AT_ONCE]
            lengths += [len(ids) for ids in await asyncio.gather(*(self.engine.tokenise([text]) for text in some))]
        return lengths

    async def inspect(
        self, conversation: Conversation, params: GenerationParams, find: FindPredecessor | None
    ) -> Inspection:
        """The prompt token by token."""
        turns = repaired(conversation)
        return await inspection.inspect(self.prompter, self.engine.spell, turns, params.thinking, find, self.card.name)

    async def parts(self, conversation: Conversation, params: GenerationParams) -> tuple[Part, ...]:
        """What becomes of each schema."""
        return (await self.held(conversation, params, starts_thinking=False)).parts

    async def held(
        self, conversation: Conversation, params: GenerationParams, *, starts_thinking: bool
    ) -> LoweredGrammars:
        """What the engine holds the model to. Raises BadRequest for a schema that no value satisfies."""
        speech = Speech(
            format=self.format,
            reasoning=self.reasoning,
            marks=tuple(self.token_ids),
            starts_thinking=starts_thinking,
            trained=self.prompter.renderer.native_tools,
            thinks=self.card.thinking,
            window=self.card.window,
        )
        return await self.grammars.held(conversation, params, speech, self.description.grammar)

    async def task(self, conversation: Conversation, params: GenerationParams, session: str | None) -> TokenTask:
        """The request as a job for the engine."""
        watch = request_watch.watch()
        watch.enter("tokenise")
        prompt = await self._prompt(conversation, params)
        watch.tokenised = watch.enter("constrain")
        watch.remembered = prompt.remembered
        generation_plan = await _plan(self, prompt, conversation, params, session)
        text = log.isEnabledFor(logging.DEBUG)
        return TokenTask(
            engine=self.engine,
            prompter=self.prompter,
            prompt=prompt,
            plan=generation_plan,
            demands=demands(params),
            unheld=demands(params) and not generation_plan.held,
            record=None
            if conversation.ids
            else await self.prompter.record(prompt, params.thinking, self.card.name, text=text),
        )

    async def close(self) -> None:
        """Let go of the engine."""
        await self.engine.close()


async def _plan(
    model: TokenModel, prompt: Prompt, conversation: Conversation, params: GenerationParams, session: str | None
) -> GenerationPlan:
    """What to generate: within the window, and held to what the request demands."""
    limit, window_bound = room(prompt.length, params.max_tokens, model.card.window)
    held = await model.held(conversation, params, starts_thinking=prompt.starts_thinking)
    parts = {part.name: part for part in held.parts if not part.released}
    # What is demanded is checked in the reply as a whole.
    tools = [] if demands(params) else [tool for tool in callable_tools(conversation, params) if tool.name in parts]
    return GenerationPlan(
        job=_job(model, prompt, params, session, limit, held),
        prompt_tokens=prompt.length,
        parser=partial(_parser, model, conversation, params, prompt.starts_thinking),
        window_bound=window_bound,
        thinking_limit=thinking_room(params.thinking, conversation, limit),
        cut_short=model.reasoning.cut_short,
        answer_grammar=held.answer,
        # Not every engine goes back at no cost, and none where pictures are in the way.
        begins=held.begins if model.description.goes_back and not prompt.pictures else (),
        held=held.exact,
        offered={tool.name: tool.schema for tool in tools},
        # Where nothing holds the calls of a tool, they stream as the model writes them, unless the tool is strict.
        checked={
            tool.name: tool.schema
            for tool in tools
            if (part := parts[tool.name]).left and (tool.strict or not part.free)
        },
        opens_thinking=()
        if params.raw
        else tuple(model.token_ids[marker] for marker in model.reasoning.opens if marker in model.token_ids),
        one_call=not params.tool_choice.parallel,
        after_mark=await model.prompter.after(prompt, conversation, params.thinking, params.cached_turns),
        report=params.report,
    )


def _job(
    model: TokenModel,
    prompt: Prompt,
    params: GenerationParams,
    session: str | None,
    max_tokens: int,
    held: LoweredGrammars,
) -> Job:
    return Job(
        prompt=prompt.ids,
        max_tokens=max_tokens,
        sampling=params.sampling,
        visible=() if params.raw else model.visible,
        grammar=held.whole,
        images=prompt.pictures,
        conversation=conversation_name(session, prompt.chain),
        text=prompt.text,
        adapter=model.adapter,
        owner=request_watch.watch().key,
        alternatives=params.report.alternatives if params.report and params.report.logprobs else None,
    )


def _parser(model: TokenModel, conversation: Conversation, params: GenerationParams, starts_thinking: bool) -> Parser:
    tools = callable_tools(conversation, params)
    if params.raw:
        plain, unmarked = format_named("plain"), reasoning_named("none")
        return Parser(plain, unmarked, {}, new_id=call_id, stop=params.stop_sequences, bare_calls=False)
    return Parser(
        model.format,
        model.reasoning,
        {tool.name: Signature(tool.schema) for tool in tools},
        new_id=call_id,
        stop=params.stop_sequences,
        starts_thinking=starts_thinking,
        # No grammar holds what is written inside thinking: what is demanded comes after it.
        calls_in_thinking=not demands(params) and not any(tool.strict for tool in tools),
        # What continues a text is not the whole of it, and what is to match a schema is no call.
        bare_calls=not conversation.prefill and params.output_schema is None and model.format.name != "plain",
        thinking_tokens={model.token_ids[mark]: mark for mark in model.reasoning.opens if mark in model.token_ids},
        sources=conversation.sources,
    )
