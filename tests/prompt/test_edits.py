"""Clearing of old tool results and old thinking."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.context_management import ClearThinking, ClearToolUses, InputTokens, ToolUses
from antiphon.api.conversation import Conversation, Text, Thinking, ToolResult, ToolUse, Turn
from antiphon.prompt.edits import CLEARED, Sizes, edited
from antiphon.prompt.turns import repaired

SIZES = Sizes(base=10, turn=2, text=len)
Exchange = tuple[str, int, bool]
"""The tool that is called, the length of its result, and whether the assistant thinks first."""


def asked(text: str = "question") -> Turn:
    return Turn(role="user", parts=(Text(text),))


def exchange(index: int, name: str, length: int, thinks: bool = False) -> tuple[Turn, Turn]:
    """A call and its result."""
    call = ToolUse(id=f"toolu_{index}", name=name, input='{"path":"somewhere"}')
    thought = (Thinking(f"thought {index}"),) if thinks else ()
    result = ToolResult(tool_use_id=call.id, parts=(Text("r" * length),))
    return Turn(role="assistant", parts=(*thought, call)), Turn(role="user", parts=(result,))


def agent(*exchanges: Exchange) -> Conversation:
    """One question and the calls that follow it."""
    turns = [turn for index, each in enumerate(exchanges) for turn in exchange(index, *each)]
    return Conversation(turns=(asked(), *turns))


def results(conversation: Conversation) -> str:
    """One letter for each result: c where it is cleared, r where it is there."""
    parts = (part for turn in conversation.turns for part in turn.parts if isinstance(part, ToolResult))
    return "".join("c" if part.parts == (Text(CLEARED),) else "r" for part in parts)


def cleared(conversation: Conversation, **fields: Any) -> str:
    return results(edited(conversation, None, ClearToolUses(**fields), SIZES).conversation)


FIVE = agent(*[("read", 100, False)] * 5)


def test_nothing_below_the_trigger() -> None:
    """A conversation that has not outgrown the trigger is the very same."""
    found = edited(FIVE, None, ClearToolUses(trigger=InputTokens(5000)), SIZES)
    assert found.conversation is FIVE
    assert found.applied == ()


def test_the_latest_uses_are_kept() -> None:
    """All but the latest uses are cleared, oldest first, and what that removes is told."""
    found = edited(FIVE, None, ClearToolUses(trigger=ToolUses(4), keep=2), SIZES)
    assert results(found.conversation) == "cccrr"
    (applied,) = found.applied
    assert (applied.kind, applied.count, applied.tokens) == ("clear_tool_uses", 3, 3 * (100 - len(CLEARED)))
    assert cleared(FIVE, trigger=ToolUses(4), keep=0) == "ccccc"
    assert cleared(FIVE, trigger=ToolUses(5), keep=0) == "rrrrr"


def test_uses_of_excluded_tools_stay() -> None:
    """The uses of an excluded tool stay, and do not count to those that are kept."""
    mixed = agent(*[(name, 100, False) for name in ("read", "note", "read", "note", "read")])
    assert cleared(mixed, trigger=ToolUses(4), keep=1, exclude=("note",)) == "crcrr"


def test_clear_at_least() -> None:
    """Nothing is cleared until enough can be."""
    gain = 100 - len(CLEARED)
    assert cleared(FIVE, trigger=InputTokens(100), keep=2, at_least=3 * gain + 1) == "rrrrr"
    assert cleared(FIVE, trigger=InputTokens(100), keep=2, at_least=3 * gain) == "cccrr"


def test_inputs_are_cleared_where_asked() -> None:
    """Inputs of cleared uses become empty, for all tools or the named ones."""
    mixed = agent(("read", 100, False), ("write", 100, False), ("read", 100, False))
    for inputs, emptied in ((False, 0), (True, 2), (("write",), 1)):
        edit = ClearToolUses(trigger=ToolUses(2), keep=1, inputs=inputs)
        found = edited(mixed, None, edit, SIZES).conversation
        calls = [part for turn in found.turns for part in turn.parts if isinstance(part, ToolUse)]
        assert sum(call.input == "{}" for call in calls) == emptied


def test_what_was_cleared_stays_until_the_trigger_is_reached_again() -> None:
    """Between two edits the same places are cleared, and the conversation only grows."""
    seen = [cleared(agent(*[("read", 100, False)] * n), trigger=InputTokens(800), keep=1) for n in range(1, 13)]
    assert seen[:8] == ["r" * n for n in range(1, 6)] + ["cccccr", "cccccrr", "cccccccr"]


def test_what_is_left_of_cleared_uses_goes_when_it_fills_the_window() -> None:
    """However many uses there are, the prompt stays within bounds; calls and results go together, and stay gone."""
    edit, before = ClearToolUses(trigger=InputTokens(800), keep=1), 0
    for count in range(1, 80):
        long = agent(*[("read", 100, False)] * count)
        found = edited(long, None, edit, SIZES, most=900).conversation
        assert SIZES.whole(repaired(found)) <= 900 + 100
        assert [turn.role for turn in repaired(found).turns[:2]] == ["user", "assistant"]
        gone = [index for index, turn in enumerate(found.turns) if not turn.parts]
        assert gone == list(range(1, len(gone) + 1))
        assert len(gone) % 2 == 0
        assert len(gone) >= before
        before = len(gone)
    assert before > 50


EXCHANGES = st.lists(
    st.tuples(st.sampled_from(["read", "note"]), st.integers(1, 400), st.booleans()), min_size=1, max_size=25
)
EDITS = st.builds(
    ClearToolUses,
    trigger=st.builds(InputTokens, st.integers(50, 3000)) | st.builds(ToolUses, st.integers(1, 8)),
    keep=st.integers(0, 4),
    at_least=st.integers(0, 500),
    exclude=st.sampled_from([(), ("note",)]),
    inputs=st.booleans(),
)
THINKING = st.none() | st.builds(ClearThinking, keep=st.none() | st.integers(1, 3))


@given(exchanges=EXCHANGES, edit=EDITS, thinking=THINKING)
def test_a_growing_conversation_keeps_its_cuts(
    exchanges: list[Exchange], edit: ClearToolUses, thinking: ClearThinking | None
) -> None:
    """What one request clears is cleared in every later one, and where nothing more is cleared the turns before are the
    very same."""
    before = None
    for count in range(1, len(exchanges) + 1):
        now = edited(agent(*exchanges[:count]), thinking, edit, SIZES)
        if before is not None:
            was, earlier = results(before.conversation), results(now.conversation)
            assert all(new == "c" for old, new in zip(was, earlier, strict=False) if old == "c")
            if now.applied == before.applied:
                assert now.conversation.turns[: len(before.conversation.turns)] == before.conversation.turns
        before = now


@given(exchanges=EXCHANGES, edit=EDITS)
def test_figures_are_those_of_the_text(exchanges: list[Exchange], edit: ClearToolUses) -> None:
    """The tokens that are told as cleared are what the conversation has become smaller by."""
    long = agent(*[(name, 50 + length, thinks) for name, length, thinks in exchanges])
    found = edited(long, None, edit, SIZES)
    assert SIZES.whole(long) - SIZES.whole(found.conversation) == sum(each.tokens for each in found.applied)


def test_old_thinking_is_cleared() -> None:
    """All that is thought about one question counts as one turn; the older ones lose their thinking."""
    first, second = exchange(0, "read", 10, True), exchange(1, "read", 10, True)
    done = Turn(role="assistant", parts=(Thinking("done"), Text("done")))
    turns = (asked(), *first, *second, done, asked("more"), *exchange(2, "read", 10, True))
    found = edited(Conversation(turns=turns), ClearThinking(keep=1), None, SIZES)
    thinking = [any(isinstance(part, Thinking) for part in turn.parts) for turn in found.conversation.turns]
    assert thinking == [False] * 7 + [True, False]
    (applied,) = found.applied
    assert (applied.count, applied.tokens) == (1, len("thought 0thought 1done"))
    assert repaired(found.conversation).unthought == found.conversation.unthought == 6


def test_all_thinking_may_be_kept() -> None:
    """Kept thinking leaves the conversation as it is."""
    conversation = Conversation(turns=(asked(), *exchange(0, "read", 10, True), asked(), *exchange(1, "read", 9, True)))
    for keep in (None, 2):
        assert edited(conversation, ClearThinking(keep=keep), None, SIZES).conversation is conversation


def test_a_turn_of_nothing_but_thinking_keeps_its_place() -> None:
    """Roles go on alternating."""
    thought = Turn(role="assistant", parts=(Thinking("cut"),))
    turns = (asked(), thought, asked("and?"), *exchange(0, "read", 10, True))
    found = edited(Conversation(turns=turns), ClearThinking(keep=1), None, SIZES).conversation
    assert [turn.role for turn in repaired(found).turns] == [turn.role for turn in turns]
