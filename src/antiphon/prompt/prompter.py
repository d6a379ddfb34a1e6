"""From a conversation to the ids of its prompt, by every stage of this room; and back into memory after the reply."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from antiphon.api.citations import written
from antiphon.api.conversation import Conversation, Part, Text, Thinking, ThinkingPolicy, ToolUse, Turn
from antiphon.api.offload import LARGE, offload
from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, ToolBlock
from antiphon.prompt.fence import Fence, segments
from antiphon.prompt.prefix.hashes import Beginning, beginning, chained
from antiphon.prompt.prefix.predecessors import PromptRecord, record
from antiphon.prompt.prefix.seams import Seams, before_mark, marked, rest, unsampled
from antiphon.prompt.prefix.transcript import Remembered, Transcript, TranscriptStore
from antiphon.prompt.templates.render import Renderer
from antiphon.prompt.templates.thoughts import Thoughts
from antiphon.prompt.tokens import PictureTokens, Tokenise, encode
from antiphon.prompt.turns import repaired


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt before it is tokenised: the text it means, whether the reply begins inside thinking. `rendered` is the
    text as it is tokenised, apart at each `cut`, without a prefill, which is `continued`; it was made of the `guarded`
    conversation. `beginning`, `turns` and their hashes `chain` are for remembering the next; so many leading turns must
    stay `unthought`. `pictures` are beside it. What more is done with a `large` one is done aside."""

    text: str
    starts_thinking: bool
    guarded: Conversation
    rendered: str
    continued: str
    cut: str
    beginning: Beginning
    turns: tuple[Turn, ...]
    chain: list[bytes]
    pictures: tuple[bytes, ...]
    large: bool
    unthought: int


class Prompt(Rendered, frozen=True, kw_only=True):
    """A prompt with its ids. `remembered` of the turns were taken from memory, which are the first `reused` of the ids;
    the turns whose `thoughts` are in the ids are for remembering the next. The pictures take `picture_tokens` beside
    the ids."""

    ids: list[int]
    remembered: int
    reused: int
    thoughts: tuple[int, ...]
    picture_tokens: int

    @property
    def length(self) -> int:
        """How many tokens of the window it takes."""
        return len(self.ids) + self.picture_tokens


class Prompter:
    """Makes prompts for one model. `opens_thinking` tells from a prompt whether the reply to it begins inside thinking,
    `ends_thinking` is the text that closes it, `start` the ids that every prompt begins with; `picture_tokens` tells
    what pictures take. With `thoughts` the template decides which thoughts stay in the history, else all do that were
    sampled here."""

    def __init__(
        self,
        renderer: Renderer,
        fence: Fence,
        seams: Seams,
        tokenise: Tokenise,
        picture_tokens: PictureTokens,
        *,
        opens_thinking: Callable[[str], bool],
        ends_thinking: str,
        start: Sequence[int],
        transcripts: TranscriptStore | None = None,
        thoughts: Thoughts | None = None,
    ) -> None:
        self.renderer = renderer
        self.transcript = Transcript(transcripts=transcripts)
        self._thoughts = thoughts
        self._openings: dict[str, int] = {}
        self.fence = fence
        self.seams = seams
        self._tokenise = tokenise
        self._picture_tokens = picture_tokens
        self._opens_thinking = opens_thinking
        self._ends_thinking = ends_thinking
        self._start = start

    def apart(self, transcripts: TranscriptStore | None) -> Prompter:
        """The same for another model, with a memory of its own."""
        other = copy.copy(self)
        other.transcript, other._openings = Transcript(transcripts=transcripts), {}
        return other

    async def prompt(self, conversation: Conversation, policy: ThinkingPolicy) -> Prompt:
        """The prompt for a conversation whose turns are in order. BadRequest where the template refuses it."""
        large = conversation.size > LARGE
        draft = await offload(large, partial(self._rendered, conversation, policy, large))
        known = None if draft.pictures else await self._known(draft)
        ids = None if known is None else await self._spliced(known, draft, policy)
        if ids is None or known is None:
            ids = await encode(self._tokenise, draft.rendered + draft.continued, draft.cut, self._start)
            known = None
        return Prompt(
            **msgspec.structs.asdict(draft),
            ids=ids,
            remembered=known.turns if known else 0,
            reused=len(known.ids) if known else 0,
            thoughts=self._thought(draft, known),
            picture_tokens=await self._picture_tokens(draft.pictures),
        )

    def _rendered(self, conversation: Conversation, policy: ThinkingPolicy, large: bool) -> Rendered:
        guarded, cut = self._guarded(conversation)
        rendered = self.renderer.prompt(guarded, policy)
        starts_thinking = self._opens_thinking(rendered)
        continued = ""
        if guarded.prefill:
            continued = (self._ends_thinking if starts_thinking else "") + _text(guarded.turns[-1])
            starts_thinking = False
        whole, pictures = rendered + continued, self.renderer.pictures(conversation)
        return Rendered(
            text=whole.replace(cut, "") if cut and not pictures else whole,
            starts_thinking=starts_thinking,
            guarded=guarded,
            rendered=rendered,
            continued=continued,
            cut=cut,
            beginning=beginning(conversation, self.renderer.switches(policy)),
            turns=conversation.turns,
            chain=chained(conversation.turns),
            pictures=pictures,
            large=large,
            unthought=conversation.unthought,
        )

    def _guarded(self, conversation: Conversation) -> tuple[Conversation, str]:
        """The conversation with every control token's text broken up, and the text at which its prompt is tokenised
        apart: the fence's cut, or the media marker, which stands for the tokens of a picture."""
        if not self.renderer.pictures(conversation):
            return self.fence.guard(conversation)
        # Engines take pictures only beside text.
        return self.fence.guard(conversation, as_text=True)[0], self.renderer.media_marker

    async def _known(self, draft: Rendered) -> Remembered | None:
        """What is remembered of the conversation, without thoughts that the template would leave out if it decides."""
        shown = self._shown(draft)
        return await self.transcript.recall(
            draft.beginning.key, draft.chain, draft.turns, lambda known: all(index in shown for index in known.thoughts)
        )

    def _shown(self, draft: Rendered) -> range:
        """The turns whose thoughts have a place in the prompt, if there are any."""
        shown = self._thoughts.shown(draft.turns) if self._thoughts else range(len(draft.turns))
        return range(max(shown.start, draft.unthought), shown.stop)

    def _thought(self, draft: Rendered, known: Remembered | None) -> tuple[int, ...]:
        turns = draft.turns
        rendered, shown = range(known.turns if known else 0, len(turns)), self._shown(draft)
        thinking = (index for index in rendered if any(isinstance(part, Thinking) for part in turns[index].parts))
        return (*(known.thoughts if known else ()), *(index for index in thinking if index in shown))

    async def _spliced(self, known: Remembered, draft: Rendered, policy: ThinkingPolicy) -> list[int] | None:
        """The ids with what is remembered of the conversation in them; None where it cannot be put in."""
        more = await offload(draft.large, partial(self._more, known, draft, policy))
        ids = None if more is None else unsampled(known.ids, await self._tokenise(more))
        return None if ids is None else [*known.ids, *ids]

    def _more(self, known: Remembered, draft: Rendered, policy: ThinkingPolicy) -> list[str] | None:
        """The text that follows what is remembered, in the pieces that are tokenised apart."""
        turns = draft.guarded.turns
        in_prefill = known.turns == len(turns) - 1 and draft.guarded.prefill
        trial = draft.rendered if in_prefill else self._trial(draft, policy, known.turns)
        more = rest(draft.rendered, trial, self.seams.of(turns[known.turns - 1]))
        return None if more is None else segments(more + draft.continued, draft.cut)

    def _trial(self, draft: Rendered, policy: ThinkingPolicy, turns: int) -> str:
        """The same prompt with the seam's mark at the beginning of the turn that follows so many."""
        seam = msgspec.structs.replace(draft.guarded, turns=marked(draft.guarded.turns, turns))
        return self.renderer.prompt(seam, policy)

    async def after(
        self, prompt: Prompt, conversation: Conversation, policy: ThinkingPolicy, count: int | None
    ) -> int | None:
        """How many of the prompt's last tokens stand behind the end of so many leading turns of the conversation as it
        was sent (the header of the turn that follows is counted to them). At the very end that is what opens the reply.
        None for no count."""
        if count is None:
            return None
        # Repair merges turns and looks only backwards: the leading ones give the leading ones.
        leading = repaired(msgspec.structs.replace(conversation, turns=conversation.turns[:count]))
        return await self._behind(prompt, policy, len(leading.turns))

    async def _behind(self, prompt: Prompt, policy: ThinkingPolicy, turns: int) -> int:
        prefill = prompt.guarded.prefill
        if turns >= len(prompt.turns):
            return 0 if prefill else await self.opening(policy)
        if turns == len(prompt.turns) - 1 and prefill:
            return len(await self._tokenise(segments(prompt.continued, prompt.cut)))
        at = await offload(prompt.large, lambda: before_mark(prompt.rendered, self._trial(prompt, policy, turns)))
        before, behind = prompt.rendered[:at], prompt.rendered[at:] + prompt.continued
        seen = before.count(prompt.cut) if prompt.pictures else 0
        # Only the shorter side is tokenised: mostly the few turns at the end, or a system prompt.
        if len(behind) <= len(before):
            text, pictures = await self._tokenise(segments(behind, prompt.cut)), prompt.pictures[seen:]
            return min(len(text) + await self._picture_tokens(pictures), prompt.length)
        text, pictures = await encode(self._tokenise, before, prompt.cut, self._start), prompt.pictures[:seen]
        return max(prompt.length - len(text) - await self._picture_tokens(pictures), 0)

    async def record(self, prompt: Prompt, policy: ThinkingPolicy, model: str, *, text: bool) -> PromptRecord:
        """What a prompt was made of, to be compared with later ones; with its text where that will be read."""
        opening = 0 if prompt.guarded.prefill else await self.opening(policy)
        return record(model, prompt.beginning, prompt.chain, prompt.ids, opening, prompt.text if text else "")

    async def opening(self, policy: ThinkingPolicy) -> int:
        """How many tokens at the end of a prompt only open the reply."""
        switches = self.renderer.switches(policy)
        if (known := self._openings.get(repr(switches))) is None:
            text = self.renderer.opening(policy)
            known = self._openings[repr(switches)] = len(await self._tokenise([text])) if text else 0
        return known

    async def remember(self, prompt: Prompt, reply: Reply, sampled: Sequence[int]) -> None:
        """Keep the ids of a conversation with the reply to it. `sampled` are without the token that ended the turn."""
        parts: list[Part] = []
        thoughts = prompt.thoughts
        for block in reply.blocks:
            if isinstance(block, TextBlock):
                parts.append(Text(written(block.text, block.citations)))
            elif isinstance(block, ToolBlock):
                parts.append(ToolUse(id=block.id, name=block.name, input=block.input))
        turns, chain = prompt.turns, prompt.chain
        if turns and turns[-1].role == "assistant":
            parts, turns, chain = [*turns[-1].parts, *parts], turns[:-1], chain[:-1]
        if parts:
            if any(isinstance(block, ThinkingBlock) for block in reply.blocks):
                thoughts = (*(index for index in thoughts if index < len(turns)), len(turns))
            turn = Turn(role="assistant", parts=tuple(parts))
            ids = [*prompt.ids, *sampled]
            await self.transcript.remember(prompt.beginning.key, chained([turn], chain), ids, thoughts)


def _text(turn: Turn) -> str:
    return "".join(part.text for part in turn.parts if isinstance(part, Text))
