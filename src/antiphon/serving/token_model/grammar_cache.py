"""The grammars that the engine holds a model to. Conversations send the same tools with every request: a grammar that
was made lately is not made anew."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, GenerationParams
from antiphon.constraint import dialects
from antiphon.constraint.dialects import LoweredGrammars
from antiphon.constraint.markers import TokenId
from antiphon.constraint.plan import HoldCalls, Speech, plan

_MOST = 64


class GrammarCache:
    """The grammars of requests to one model, in the dialect of its engine. `hold_calls` is the operator's choice; the
    model ends its replies with one of the tokens `ends`."""

    def __init__(self, token_id: TokenId, hold_calls: HoldCalls, ends: Sequence[int] = ()) -> None:
        self._token_id = token_id
        self._ends = ends
        self._hold_calls = hold_calls
        self._recent: OrderedDict[Any, LoweredGrammars] = OrderedDict()

    async def held(
        self, conversation: Conversation, params: GenerationParams, speech: Speech, dialect: str
    ) -> LoweredGrammars:
        """What the engine holds the model to. Raises BadRequest for a schema that no value satisfies."""
        tools, sources = conversation.callable_tools, conversation.sources

        def lowered() -> LoweredGrammars:
            demand = partial(plan, tools, params, speech, dialect=dialect, hold=self._hold_calls, sources=sources)
            # Mostly the grammar of all schemas compiles, and none has to be compiled by itself.
            uncompiled = demand(compiled=False)
            return dialects.hold(dialect, uncompiled, self._token_id, ends=self._ends, otherwise=demand)

        if not (tools or sources) and params.output_schema is None:
            return lowered()
        schemas = msgspec.json.encode([[(tool.name, tool.strict, tool.schema) for tool in tools], params.output_schema])
        labels = tuple((source.label, len(source.passages)) for source in sources)
        key = (schemas, labels, dialect, params.tool_choice, params.thinking.mode, speech.starts_thinking)
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        # Schemas that are new take a while; other streams go on meanwhile.
        self._recent[key] = held = await asyncio.to_thread(lowered)
        if len(self._recent) > _MOST:
            self._recent.popitem(last=False)
        return held
