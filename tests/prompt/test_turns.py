"""Turn repair: whatever the order, the outcome is one that templates take, and its beginning does not change."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.api.conversation import Conversation, Part, Role, Text, ToolResult, ToolUse, Turn
from antiphon.prompt.turns import repaired


def turn(role: Role, *parts: str | Part) -> Turn:
    return Turn(role=role, parts=tuple(Text(part) if isinstance(part, str) else part for part in parts))


def turns(*given: Turn, system: str = "") -> tuple[Turn, ...]:
    return repaired(Conversation(system=system, turns=given)).turns


USE = ToolUse(id="1", name="f", input="{}")


def answer(text: str) -> ToolResult:
    return ToolResult(tool_use_id="1", parts=(Text(text),) if text else ())


NOTE = "<system-reminder>\nnote\n</system-reminder>"


def test_a_system_turn_stays_where_it_is() -> None:
    """After a user turn it is folded into it; hoisting would change the head of the prompt (A2)."""
    assert turns(turn("user", "a"), turn("system", "note"), turn("assistant", "b")) == (
        turn("user", f"a\n{NOTE}"),
        turn("assistant", "b"),
    )


def test_a_system_turn_after_results_goes_into_the_last_of_them() -> None:
    """A text part of its own would open another user turn in many templates, and the model would answer it."""
    found = turns(turn("user", "a"), turn("assistant", USE), turn("user", answer("r")), turn("system", "note"))
    assert found[-1] == turn("user", answer(f"r\n{NOTE}"))
    assert turns(turn("user", answer("")), turn("system", "note"))[-1] == turn("user", answer(NOTE))


def test_a_system_turn_after_the_assistant_joins_the_next_user_turn() -> None:
    """And where none follows it is one, so that a prompt never ends on a system turn (A3)."""
    found = turns(turn("user", "a"), turn("assistant", "b"), turn("system", "note"), turn("user", "c"))
    assert found[2:] == (turn("user", f"{NOTE}\n\nc"),)
    assert turns(turn("user", "a"), turn("assistant", "b"), turn("system", "note"))[2:] == (turn("user", NOTE),)


def test_a_leading_system_turn_joins_the_system_text() -> None:
    """Before the first turn there is nothing to fold it into, and nothing it could move past."""
    found = repaired(Conversation(system="s", turns=(turn("system", "t"), turn("user", "a"))))
    assert found == Conversation(system="s\n\nt", turns=(turn("user", "a"),))


def test_results_come_first_and_together() -> None:
    """Also when text stands before or between them, or they come in several messages (B10)."""
    one, two = ToolResult(tool_use_id="1"), ToolResult(tool_use_id="2")
    assert turns(turn("user", "a", one, "b"), turn("user", two, "c"))[0].parts == (one, two, Text("abc"))


def test_messages_that_become_one_turn_are_parted() -> None:
    """Blocks of one message are joined with nothing between, messages with an empty line."""
    assert turns(turn("user", "a", "b"), turn("user", "c")) == (turn("user", "ab\n\nc"),)


PART = st.one_of(st.text(max_size=3).map(Text), st.just(USE), st.builds(answer, st.text(max_size=3)))
TURN = st.builds(
    lambda role, parts: Turn(role=role, parts=tuple(parts)),
    st.sampled_from(["user", "assistant", "system"]),
    st.lists(PART, max_size=4),
)
TURNS = st.lists(TURN, max_size=7)


@given(TURNS)
@settings(max_examples=200, deadline=None)
def test_repair_gives_order_and_is_done_once(given_turns: list[Turn]) -> None:
    """Roles alternate, no turn is of role system or empty, results lead, text parts never touch; twice is once."""
    once = repaired(Conversation(system="s", turns=tuple(given_turns)))
    assert repaired(once) == once
    roles = [each.role for each in once.turns]
    assert "system" not in roles
    assert all(a != b for a, b in pairwise(roles))
    for each in once.turns:
        assert each.parts
        kinds = [type(part) for part in each.parts]
        results = kinds.count(ToolResult)
        assert all(kind is ToolResult for kind in kinds[:results])
        assert all(not (a is Text and b is Text) for a, b in pairwise(kinds))


@given(TURNS, TURN)
@settings(max_examples=200, deadline=None)
def test_a_growing_conversation_keeps_its_beginning(given_turns: list[Turn], more: Turn) -> None:
    """Prefix law at this stage: another turn leaves all turns but the last as they were."""
    before = repaired(Conversation(turns=tuple(given_turns))).turns
    after = repaired(Conversation(turns=(*given_turns, more))).turns
    assert after[: max(len(before) - 1, 0)] == before[:-1]
