"""Keeps the conversations of one model within their bounds: counts what they are made of, and applies the edits that a
client asks for, or those that the operator chose for clients that ask for none.

Triggers are compared with the sum of the sizes of all parts, which are remembered by their text: a conversation is
counted at its end only, and the same one always in the same way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

import msgspec

from antiphon.api.context_management import ClearThinking, ClearToolUses, Compact, Edit, InputTokens
from antiphon.api.conversation import Conversation, GenerationParams, Text, Turn
from antiphon.api.errors import BadRequest
from antiphon.prompt.edits import CLEARED, Edited, Sizes, edited, texts
from antiphon.prompt.summary import shortened
from antiphon.prompt.turns import repaired
from antiphon.serving.compaction import SummaryRequest, summary_request
from antiphon.serving.model import Model

_CLEAR, _COMPACT = 100_000, 150_000
"""The triggers of the API where a request names none, in tokens."""
_MOST_REMEMBERED = 100_000
_TURN = 8
"""Tokens around a turn where the template cannot be asked."""


class ContextEditor:
    """The edits for one model. `clears` says that the operator wants old tool results cleared where a client says
    nothing of edits."""

    def __init__(self, model: Model, *, clears: bool = False) -> None:
        self._model = model
        self._defaults: tuple[Edit, ...] = (ClearToolUses(),) if clears else ()
        self._sizes: OrderedDict[bytes, int] = OrderedDict()
        self._turn: int | None = None

    @property
    def ceiling(self) -> int:
        """No trigger is above three quarters of the window: the rest is for what comes at once, and for the reply."""
        return self._model.card.window * 3 // 4

    async def edited(self, conversation: Conversation, params: GenerationParams) -> Edited:
        """The conversation after the edits that clear."""
        edits = self._defaults if params.edits is None else params.edits
        thinking = next((edit for edit in edits if isinstance(edit, ClearThinking)), None)
        tool_uses = next((edit for edit in edits if isinstance(edit, ClearToolUses)), None)
        if conversation.ids or (tool_uses is None and (thinking is None or thinking.keep is None)):
            return Edited(conversation=conversation)
        most = self._model.card.window * 7 // 8
        return edited(conversation, thinking, self._bounded(tool_uses), await self.sizes(conversation), most)

    async def compaction(self, conversation: Conversation, params: GenerationParams) -> SummaryRequest | None:
        """The summary that this request calls for, now that its prompt has grown so far."""
        edit = next((edit for edit in params.edits or () if isinstance(edit, Compact)), None)
        if edit is None or conversation.ids:
            return None
        after = (await self.edited(conversation, params)).conversation
        size = (await self.sizes(after)).whole(after)
        # A summary alone is not summarised again, and what continues a text is not cut off from it.
        small = size < min(edit.trigger or _COMPACT, self.ceiling) or len(conversation.turns) < 2
        if not edit.on_demand and (small or conversation.prefill):
            return None
        request = summary_request(conversation, params, edit, self._model.card.window)
        most = self._model.card.window - (request.params.max_tokens or 0) * 3 // 2
        if size <= most:
            return request
        # What is left out are an answer and the turn behind it, which only repair makes the next.
        whole = repaired(request.conversation)
        short = shortened(whole, await self.sizes(whole), most)
        return msgspec.structs.replace(request, conversation=short)

    def _bounded(self, edit: ClearToolUses | None) -> ClearToolUses | None:
        """The edit with a trigger that can be reached."""
        if edit is None:
            return None
        trigger = edit.trigger or InputTokens(_CLEAR)
        if isinstance(trigger, InputTokens):
            trigger = InputTokens(min(trigger.value, self.ceiling))
        return msgspec.structs.replace(edit, trigger=trigger)

    async def sizes(self, conversation: Conversation) -> Sizes:
        """The sizes of everything in a conversation."""
        contents = {text for turn in conversation.turns for part in turn.parts for text in texts(part)}
        counts: dict[str, int] = {}
        missing: list[str] = []
        for text in {*contents, CLEARED, "{}"}:
            if (size := self._remembered(_digest(text.encode("utf-8", "replace")))) is None:
                missing.append(text)
            else:
                counts[text] = size
        counted = await self._model.measure(missing) if missing else []
        for text, size in zip(missing, counted, strict=True):
            counts[text] = size
            self._remember(_digest(text.encode("utf-8", "replace")), size)
        base, turn = await asyncio.gather(self._base(conversation), self._around())
        return Sizes(base=base, turn=turn, text=counts.__getitem__)

    async def _base(self, conversation: Conversation) -> int:
        """The tokens before the first turn."""
        tools = [(tool.name, tool.description, tool.schema) for tool in conversation.first_tools]
        name = _digest(msgspec.json.encode((conversation.system, tools)))
        if (known := self._remembered(name)) is None:
            question = Turn(role="user", parts=(Text("a"),))
            short = msgspec.structs.replace(conversation, turns=(question,), unthought=0)
            known = max(await self._model.count(short, GenerationParams()) - await self._around() - 1, 0)
            self._remember(name, known)
        return known

    async def _around(self) -> int:
        """The tokens that a template puts around a turn."""
        if self._turn is None:
            one = (Turn(role="user", parts=(Text("a"),)),)
            three = (*one, Turn(role="assistant", parts=(Text("a"),)), *one)
            try:
                short, long = [
                    await self._model.count(Conversation(turns=turns), GenerationParams()) for turns in (one, three)
                ]
                self._turn = max((long - short + 1) // 2 - 1, 0)
            except BadRequest:
                self._turn = _TURN
        return self._turn

    def _remembered(self, name: bytes) -> int | None:
        if name in self._sizes:
            self._sizes.move_to_end(name)
        return self._sizes.get(name)

    def _remember(self, name: bytes, size: int) -> None:
        self._sizes[name] = size
        while len(self._sizes) > _MOST_REMEMBERED:
            self._sizes.popitem(last=False)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
