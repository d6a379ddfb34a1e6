"""Why a reply ends is derived from what was told of it."""

from __future__ import annotations

import pytest

from antiphon.api.conversation import GenerationParams
from antiphon.engines.scripted import Rule
from tests.serving.served import reply, said, served, tool

CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "bees"}}\n</tool_call>'
CUT = '<tool_call>\n{"name": "look", "arguments": {"at": "be'


@pytest.mark.parametrize(
    ("rule", "reason", "sequence"),
    [
        (Rule(text=f"{CALL}\nSo. END of it"), "tool_use", None),
        (Rule(text=f"{CALL}\nSo", end="length"), "tool_use", None),
        (Rule(text=f"So. END of it {CALL}"), "stop_sequence", "END"),
        (Rule(text="So. END of it"), "stop_sequence", "END"),
        (Rule(text=CUT, end="length"), "max_tokens", None),
        (Rule(text=f"{CALL}\n{CUT}", end="length"), "max_tokens", None),
        (Rule(text="So."), "end_turn", None),
    ],
)
async def test_whole_calls_wait_for_their_results(rule: Rule, reason: str, sequence: str | None) -> None:
    """Stop law: `tool_use` if and only if the calls are whole, also where a stop sequence or the limit ended the text
    after them; and a stop sequence is named only where it is the reason."""
    service, _ = await served(rule)
    wanted = GenerationParams(max_tokens=1000, stop_sequences=("END",))
    answer = await reply(service, said("Look.", tools=(tool(at={"type": "string"}),)), wanted)
    assert (answer.reason, answer.stop_sequence) == (reason, sequence)
