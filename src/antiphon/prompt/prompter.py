"""From a conversation to the ids of its prompt, by every stage of this room; and back into memory after the reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from antiphon.conversation import Conversation, Part, Text, ThinkingPolicy, ToolUse, Turn
from antiphon.events import Reply, TextBlock, ToolBlock
from antiphon.prompt.fence import Fence, segments
from antiphon.prompt.render import Renderer
from antiphon.prompt.tokens import Tokenise, encode
from antiphon.prompt.transcript import Seams, Transcript, beginning, marked, rest


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt: its ids, the text they mean, whether the reply begins inside thinking. `remembered` of the turns were
    taken from memory; `key` and `turns` are for remembering the next."""

    ids: list[int]
    text: str
    starts_thinking: bool
    remembered: int
    key: bytes
    turns: tuple[Turn, ...]
    pictures: tuple[bytes, ...]


class Prompter:
    """Makes prompts for one model. `opens_thinking` tells from a prompt whether the reply to it begins inside thinking,
    `ends_thinking` is the text that closes it, `start` the ids that every prompt begins with."""

    def __init__(
        self,
        renderer: Renderer,
        fence: Fence,
        seams: Seams,
        tokenise: Tokenise,
        *,
        opens_thinking: Callable[[str], bool],
        ends_thinking: str,
        start: Sequence[int],
    ) -> None:
        self.renderer = renderer
        self.transcript = Transcript()
        self._fence = fence
        self._seams = seams
        self._tokenise = tokenise
        self._opens_thinking = opens_thinking
        self._ends_thinking = ends_thinking
        self._start = start

    async def prompt(self, conversation: Conversation, policy: ThinkingPolicy) -> Prompt:
        """The prompt for a conversation whose turns are in order. BadRequest where the template refuses it."""
        guarded, cut = self._fence.guard(conversation)
        text = self.renderer.prompt(guarded, policy)
        starts_thinking = self._opens_thinking(text)
        continued = ""
        if guarded.prefill:
            continued = (self._ends_thinking if starts_thinking else "") + _text(guarded.turns[-1])
            starts_thinking = False
        key = beginning(conversation, self.renderer.switches(policy))
        pictures = self.renderer.pictures(conversation)
        ids, remembered = None, 0
        if not pictures:
            ids, remembered = await self._spliced(key, conversation, guarded, policy, text, continued, cut)
        if ids is None:
            ids = await encode(self._tokenise, text + continued, cut, self._start)
        whole = text + continued
        return Prompt(
            ids=ids,
            text=whole.replace(cut, "") if cut else whole,
            starts_thinking=starts_thinking,
            remembered=remembered,
            key=key,
            turns=conversation.turns,
            pictures=pictures,
        )

    async def _spliced(
        self,
        key: bytes,
        conversation: Conversation,
        guarded: Conversation,
        policy: ThinkingPolicy,
        text: str,
        continued: str,
        cut: str,
    ) -> tuple[list[int] | None, int]:
        """The ids with what is remembered of the conversation in them, and how many turns that is."""
        known = self.transcript.recall(key, conversation.turns)
        if known is None:
            return None, 0
        seam = msgspec.structs.replace(guarded, turns=marked(guarded.turns, known.turns))
        in_prefill = known.turns == len(guarded.turns) - 1 and guarded.prefill
        trial = text if in_prefill else self.renderer.prompt(seam, policy)
        more = rest(text, trial, self._seams.of(conversation.turns[known.turns - 1]))
        if more is None:
            return None, 0
        return [*known.ids, *await self._tokenise(segments(more + continued, cut))], known.turns

    def remember(self, prompt: Prompt, reply: Reply, sampled: Sequence[int]) -> None:
        """Keep the ids of a conversation with the reply to it. `sampled` are without the token that ended the turn."""
        parts: list[Part] = []
        for block in reply.blocks:
            if isinstance(block, TextBlock):
                parts.append(Text(block.text))
            elif isinstance(block, ToolBlock):
                parts.append(ToolUse(id=block.id, name=block.name, input=block.input))
        turns = prompt.turns
        if turns and turns[-1].role == "assistant":
            parts, turns = [*turns[-1].parts, *parts], turns[:-1]
        if parts:
            turn = Turn(role="assistant", parts=tuple(parts))
            self.transcript.remember(prompt.key, (*turns, turn), [*prompt.ids, *sampled])


def _text(turn: Turn) -> str:
    return "".join(part.text for part in turn.parts if isinstance(part, Text))
