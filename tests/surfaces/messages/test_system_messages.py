"""What system messages within `messages` say beside their text: until when it is shown, and how much effort is made."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.api.conversation import Text
from tests.surfaces.messages.reading import body, conversation, read, refusal

USER = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "Yes?"}
CALL = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}
SUMMARY = {"role": "assistant", "content": [{"type": "compaction", "content": "S"}]}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "done"}]}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def reminder(clear_at: str | None = "next_user_message", **fields: Any) -> dict[str, Any]:
    return {"role": "system", "content": "Be brief.", "clear_at": clear_at, **fields}


def effort(level: str | None, **fields: Any) -> dict[str, Any]:
    return {"role": "system", "output_config": {"effort": level}, **fields}


def shown(messages: list[Any]) -> str:
    turns = conversation(messages, tools=[TOOL]).turns
    return "|".join(part.text for turn in turns for part in turn.parts if isinstance(part, Text))


def test_a_reminder_is_shown_for_its_user_turn() -> None:
    """Any later user message ends it, one with tool results too; without `clear_at` it stays."""
    assert "Be brief." in shown([USER, reminder()])
    assert "Be brief." in shown([USER, reminder(), SAID])
    assert "Be brief." not in shown([USER, reminder(), SAID, USER])
    assert "Be brief." not in shown([USER, reminder(), CALL, RESULT])
    assert shown([USER, reminder(), SAID, USER, reminder()]).count("Be brief.") == 1
    for always in (None, "never"):
        assert "Be brief." in shown([USER, reminder(always), SAID, USER])


def test_tools_that_a_reminder_brought_stay() -> None:
    """Only its text is over."""
    addition = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "g"}}
    content = [{"type": "text", "text": "Be brief."}, addition]
    later = {"name": "g", "input_schema": {"type": "object"}, "defer_loading": True}
    asked = read(body(messages=[USER, reminder(content=content), SAID, USER], tools=[TOOL, later]))
    assert [tool.name for tool in asked.conversation.callable_tools] == ["f", "g"]


@pytest.mark.parametrize(
    ("messages", "level"),
    [
        ([USER], "high"),
        ([USER, effort("low")], "low"),
        ([USER, reminder(), effort("low", content="And quick.")], "low"),
        ([USER, SAID, effort("low"), USER], "low"),
        ([USER, SAID, effort("low")], "high"),
        ([USER, effort("low"), SAID, USER, SAID, USER], "low"),
        ([USER, effort("low"), SAID, USER, effort("max")], "max"),
        ([USER, effort("low"), CALL, RESULT], "low"),
        ([USER, CALL, RESULT, effort("low")], "high"),
        ([USER, CALL, RESULT, effort("low"), SAID, USER], "low"),
        ([USER, effort("low"), effort(None, content="")], "low"),
        ([USER, effort("low"), SUMMARY, USER], "low"),
    ],
)
def test_the_latest_effort_counts(messages: list[Any], level: str) -> None:
    """From the user message on that it follows, else from the next one with more than tool results; what is summarised
    had its say."""
    asked = read(body(messages=messages, tools=[TOOL], output_config={"effort": "high"}))
    assert asked.generation.thinking.effort == level


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (effort("colossal"), "messages.1.output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh'"),
        (reminder("soon"), "messages.1.clear_at"),
        ({**SAID, "clear_at": "never"}, "messages.1.clear_at: only `system` messages can have it"),
    ],
)
def test_what_they_cannot_say(message: dict[str, Any], words: str) -> None:
    """It is refused with its place."""
    assert refusal(messages=[USER, message, USER]).startswith(words)
