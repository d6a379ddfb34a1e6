"""One message that begins with a summary: the model writes it, and then answers with the summary in place of the
conversation that it was written of.

Two requests to the model, one after the other, told as one message. The first is the conversation with the instructions
at its end, so that its prompt is computed already; of the second's, the system prompt and the tools are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from antiphon.api.context_management import Compact
from antiphon.api.conversation import Conversation, GenerationParams, Text, ToolChoice, Turn
from antiphon.api.events import AnyEvent, Compacted, Emit, Finished, Run, Started, Usage
from antiphon.api.reply import Fold, Reply, TextBlock

INSTRUCTIONS = (Path(__file__).parent / "summary_instructions.txt").read_text("utf-8").strip()
_LONGEST = 4096
"""In tokens."""


class SummaryRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the model for a summary, and the compaction that called for it."""

    edit: Compact
    conversation: Conversation
    params: GenerationParams


def summary_request(conversation: Conversation, params: GenerationParams, edit: Compact, window: int) -> SummaryRequest:
    """The request for a summary of a conversation. It is no longer than an eighth of the window."""
    ask = Turn(role="user", parts=(Text(edit.instructions.strip() or INSTRUCTIONS),))
    params = GenerationParams(
        max_tokens=min(max(window // 8, 1), _LONGEST),
        sampling=params.sampling,
        tool_choice=ToolChoice(mode="none"),
        thinking=params.thinking,
        edits=params.edits,
    )
    turns = (*conversation.turns, ask)
    return SummaryRequest(edit=edit, conversation=msgspec.structs.replace(conversation, turns=turns), params=params)


class Compaction:
    """The message. `summarise` generates the summary; `further` prepares the reply that goes on after one, or after
    none where the model wrote nothing. A summary on demand is all of the message."""

    def __init__(self, summarise: Run, edit: Compact, further: Callable[[str], Awaitable[Run]]) -> None:
        self._summarise = summarise
        self._edit = edit
        self._further = further

    async def run(self, emit: Emit) -> None:
        """Emit batches of events, the first beginning with `Started`, the last ending with `Finished`."""
        reply = await self._summary(emit)
        text = "".join(block.text for block in reply.blocks if isinstance(block, TextBlock)).strip()
        await emit([Compacted(text or None)])
        # Where the model wrote no summary, a client that wanted to pause behind one would be left without any answer.
        if self._edit.on_demand or (self._edit.pause and text):
            reason = "compaction" if text else reply.reason
            await emit([Finished(reason, Usage(prompt=0, compaction=reply.usage))])
            return
        go_on = await self._further(text)

        async def passing(batch: list[AnyEvent]) -> None:
            events: list[AnyEvent] = [event for event in batch if not isinstance(event, Started)]
            if events and isinstance(end := events[-1], Finished):
                usage = msgspec.structs.replace(end.usage, compaction=reply.usage)
                events[-1] = msgspec.structs.replace(end, usage=usage)
            if events:
                await emit(events)

        await go_on(passing)

    async def _summary(self, emit: Emit) -> Reply:
        """The reply that is the summary. Nothing is told of it but that it has begun."""
        folding = Fold()

        async def keep(batch: list[AnyEvent]) -> None:
            await folding.take(batch)
            if isinstance(batch[0], Started):
                await emit([batch[0]])

        await self._summarise(keep)
        return folding.reply()
