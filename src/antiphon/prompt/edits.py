"""Clears what a conversation no longer needs: the results of old tool uses, old thinking.

A pure function of the conversation, the edits and the sizes of texts. It must clear the same places again when the
conversation has grown, or every prompt would be computed anew from the first of them. So the triggers are replayed:
what each earlier request cleared, up to every user turn, is cleared before the next one is judged. A trigger is then
reached only when the conversation has grown to it once more, and between two such turns a prompt grows at its end.
Requests before the present one are taken to have had the same edits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec

from antiphon.api.context_management import AppliedEdit, ClearThinking, ClearToolUses, ToolUses
from antiphon.api.conversation import Conversation, Image, Part, Text, Thinking, ToolResult, ToolUse, Turn

CLEARED = "[cleared to save space]"
"""What stands in place of a cleared tool result: short, for it stays."""
_PICTURE = 1000
_CALL = 16
"""Tokens that a template puts around a call or its result, about."""

Place = tuple[int, int]
"""The index of a turn, and of a part of it."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """What the triggers are compared with, in tokens: `base` is all before the first turn, `turn` what a template puts
    around each turn, `text` gives the size of a text of the conversation."""

    base: int
    turn: int
    text: Callable[[str], int]

    def part(self, part: Part) -> int:
        """The tokens of a part, about."""
        match part:
            case Image():
                return _PICTURE
            case ToolUse() | ToolResult():
                inner = sum(map(self.part, part.parts)) if isinstance(part, ToolResult) else self.text(part.input)
                return _CALL + inner
            case Text(text) | Thinking(text):
                return self.text(text)

    def whole(self, conversation: Conversation) -> int:
        """The tokens of a prompt, about."""
        turns = (self.turn + sum(map(self.part, turn.parts)) for turn in conversation.turns)
        return self.base + sum(turns)


def texts(part: Part) -> Iterator[str]:
    """The texts whose sizes are asked for."""
    match part:
        case Text(text) | Thinking(text):
            yield text
        case ToolUse():
            yield part.input
        case ToolResult():
            for inner in part.parts:
                yield from texts(inner)


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation after its edits, and what those that changed anything cleared."""

    conversation: Conversation
    applied: tuple[AppliedEdit, ...] = ()


def edited(
    conversation: Conversation,
    thinking: ClearThinking | None,
    tool_uses: ClearToolUses | None,
    sizes: Sizes,
    most: int | None = None,
) -> Edited:
    """The conversation after these edits, thinking first. The trigger of `tool_uses` must be given. Where what is left
    of cleared uses has grown to more than `most` tokens with all else, the older half of it goes too."""
    uses, spent = _old_uses(conversation.turns, thinking, tool_uses, sizes, most) if tool_uses else ([], {})
    applied = []
    if thinking and (spans := _old_thinking(conversation.turns, thinking)):
        end = spans[-1].stop
        thoughts = (part for turn in conversation.turns[:end] for part in turn.parts if isinstance(part, Thinking))
        applied.append(AppliedEdit(kind="clear_thinking", count=len(spans), tokens=sum(map(sizes.part, thoughts))))
        conversation = _without_thinking(conversation, end)
    if uses:
        tokens = sum(use.gain for use in uses) + sum(spent.values())
        applied.append(AppliedEdit(kind="clear_tool_uses", count=len(uses), tokens=tokens))
        conversation = _without_uses(conversation, uses, spent)
    return Edited(conversation=conversation, applied=tuple(applied))


class _Use(msgspec.Struct, frozen=True, kw_only=True):
    """A tool use that has its result: the turns of both, its id there, whether its input is cleared too, and the tokens
    that clearing it removes."""

    name: str
    id: str
    call: int
    result: int
    input: bool
    gain: int


def _old_uses(
    turns: Sequence[Turn], thinking: ClearThinking | None, edit: ClearToolUses, sizes: Sizes, most: int | None
) -> tuple[list[_Use], dict[int, int]]:
    """The tool uses that this request and those before it clear, in their order, and the turns that they empty, with
    the tokens of each."""
    thought = _cleared_thinking(turns, thinking, sizes)
    cleared: list[_Use] = []
    left: list[_Use] = []
    spent: dict[int, int] = {}
    tokens = sizes.base
    uses = _uses(turns, edit, sizes)
    for index, turn in enumerate(turns):
        tokens += sizes.turn + sum(map(sizes.part, turn.parts))
        left += uses.get(index, ())
        if turn.role == "assistant" or not _ends_request(turns, index):
            continue
        old = _clearable(edit, left, tokens - thought[index])
        tokens -= sum(use.gain for use in old)
        cleared += old
        left = [use for use in left if use not in old] if old else left
        if most is not None and tokens - thought[index] > most:
            more = _spent(turns, cleared, spent, sizes)
            tokens -= sum(more.values())
            spent |= more
    return cleared, spent


def _clearable(edit: ClearToolUses, left: Sequence[_Use], tokens: int) -> list[_Use]:
    """What a request of so many tokens clears of the tool uses that are left."""
    reached = len(left) if isinstance(edit.trigger, ToolUses) else tokens
    if edit.trigger is None or reached <= edit.trigger.value:
        return []
    clearable = [use for use in left if use.name not in edit.exclude]
    old = clearable[: max(len(clearable) - edit.keep, 0)]
    return old if sum(use.gain for use in old) >= edit.at_least else []


def _spent(turns: Sequence[Turn], cleared: Sequence[_Use], before: Mapping[int, int], sizes: Sizes) -> dict[int, int]:
    """The older half of the turns that hold nothing but cleared uses, each with its tokens: the calls and, behind them,
    their results. Those that were emptied `before` are not among them."""
    gains: dict[int, int] = {}
    ids: dict[int, set[str]] = {}
    for use in cleared:
        gains[use.result] = gains.get(use.result, 0) + use.gain
        ids.setdefault(use.call, set()).add(use.id)
    pairs = [
        call
        for call, known in ids.items()
        if call not in before
        and known == {part.id for part in turns[call].parts if isinstance(part, ToolUse)}
        and call + 1 in gains
        and all(isinstance(part, ToolResult) for part in turns[call + 1].parts)
    ]
    spent = {}
    for call in pairs[: (len(pairs) + 1) // 2]:
        spent[call] = sum(map(sizes.part, turns[call].parts))
        spent[call + 1] = sum(map(sizes.part, turns[call + 1].parts)) - gains[call + 1]
    return spent


def _ends_request(turns: Sequence[Turn], index: int) -> bool:
    """Whether a request was made with this turn as its last: an answer follows, or nothing."""
    return index + 1 == len(turns) or turns[index + 1].role == "assistant"


def _uses(turns: Sequence[Turn], edit: ClearToolUses, sizes: Sizes) -> dict[int, list[_Use]]:
    """The tool uses by the turn of their result."""
    uses: dict[int, list[_Use]] = {}
    calls: dict[str, tuple[int, ToolUse]] = {}
    for index, turn in enumerate(turns):
        for part in turn.parts:
            if isinstance(part, ToolUse):
                calls[part.id] = index, part
            elif isinstance(part, ToolResult) and part.tool_use_id in calls:
                called, call = calls.pop(part.tool_use_id)
                input = edit.clears_input(call.name)
                gain = sizes.part(part) - sizes.part(_emptied(part))
                gain += sizes.part(call) - sizes.part(_emptied(call)) if input else 0
                use = _Use(name=call.name, id=call.id, call=called, result=index, input=input, gain=max(gain, 0))
                uses.setdefault(index, []).append(use)
    return uses


def _emptied(part: Part) -> Part:
    """A cleared result or call."""
    match part:
        case ToolResult():
            return msgspec.structs.replace(part, parts=(Text(CLEARED),))
        case ToolUse():
            return msgspec.structs.replace(part, input="{}")
        case _:
            return part


def _without_uses(conversation: Conversation, uses: Sequence[_Use], spent: Collection[int]) -> Conversation:
    # Calls of different turns may share an id, so the turn counts too.
    results = {(use.result, use.id) for use in uses}
    calls = {(use.call, use.id) for use in uses if use.input}

    def cleared(index: int, part: Part) -> bool:
        match part:
            case ToolResult():
                return (index, part.tool_use_id) in results
            case ToolUse():
                return (index, part.id) in calls
            case _:
                return False

    turns = list(conversation.turns)
    for index in {index for index, _ in results | calls}:
        parts = (_emptied(part) if cleared(index, part) else part for part in turns[index].parts)
        turns[index] = msgspec.structs.replace(turns[index], parts=tuple(parts))
    for index in spent:
        # An empty turn keeps its place until repair, so that marks on turns are found.
        turns[index] = msgspec.structs.replace(turns[index], parts=())
    return msgspec.structs.replace(conversation, turns=tuple(turns))


def _answers(turns: Sequence[Turn]) -> Iterator[range]:
    """The turns of each answer that has thinking: all that the assistant does about one question, with the calls and
    results in between, is one turn of the API."""
    first = 0
    for index, turn in enumerate((*turns, Turn(role="user", parts=()))):
        if turn.role == "user" and not any(isinstance(part, ToolResult) for part in turn.parts):
            if any(isinstance(part, Thinking) for each in turns[first:index] for part in each.parts):
                yield range(first, index)
            first = index


def _old_thinking(turns: Sequence[Turn], edit: ClearThinking) -> list[range]:
    answers = list(_answers(turns))
    return [] if edit.keep is None else answers[: max(len(answers) - edit.keep, 0)]


def _cleared_thinking(turns: Sequence[Turn], edit: ClearThinking | None, sizes: Sizes) -> list[int]:
    """For each turn, the tokens of thinking that a request that ended with it cleared."""
    if edit is None or edit.keep is None:
        return [0] * len(turns)
    answers, begins = list(_answers(turns)), {}
    for place, answer in enumerate(answers[edit.keep :]):
        # The first thinking of an answer makes the one so many before it old.
        first = next(i for i in answer if any(isinstance(part, Thinking) for part in turns[i].parts))
        parts = (part for i in answers[place] for part in turns[i].parts if isinstance(part, Thinking))
        begins[first] = sum(map(sizes.part, parts))
    cleared, tokens = [], 0
    for index in range(len(turns)):
        tokens += begins.get(index, 0)
        cleared.append(tokens)
    return cleared


def _without_thinking(conversation: Conversation, end: int) -> Conversation:
    """The conversation without the thinking of so many leading turns."""
    turns = (_unthought(turn) if index < end else turn for index, turn in enumerate(conversation.turns))
    return msgspec.structs.replace(conversation, turns=tuple(turns), unthought=end)


def _unthought(turn: Turn) -> Turn:
    parts = tuple(part for part in turn.parts if not isinstance(part, Thinking))
    return turn if len(parts) == len(turn.parts) else msgspec.structs.replace(turn, parts=parts or (Text(""),))
