"""The prefix law with context management: a prompt is computed anew once after an edit, and grows at its end again."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.serving.model import Choices
from tests.laws.growing import Talk, text, tool
from tests.serving.served import served
from tests.serving.test_history import FORGETFUL

CALL = (
    '<think>\nNow {n}.\n</think>\n\nNext.\n<tool_call>\n{{"name": "{name}", "arguments": {{"a": {n}}}}}\n</tool_call>'
)
SAY = "<think>\nIt is {n}.\n</think>\n\nDone."
TOOLS = [tool("look"), tool("late")]
CLEAR: list[Any] = [
    {"trigger": {"type": "input_tokens", "value": 1500}, "keep": {"type": "tool_uses", "value": 1}},
    {"trigger": {"type": "input_tokens", "value": 1500}, "clear_at_least": {"type": "input_tokens", "value": 600}},
    {
        "trigger": {"type": "tool_uses", "value": 5},
        "keep": {"type": "tool_uses", "value": 2},
        "clear_tool_inputs": True,
    },
    {"trigger": {"type": "tool_uses", "value": 4}, "exclude_tools": ["late"], "clear_tool_inputs": ["look"]},
]
THINK: list[Any] = [None, {"keep": "all"}, {"keep": {"type": "thinking_turns", "value": 2}}, {}]
STEPS = st.lists(st.tuples(st.sampled_from(["look", "late", ""]), st.integers(1, 150)), min_size=8, max_size=16)


async def talk_on(talk: Talk, steps: list[tuple[str, int]], edits: list[Any]) -> None:
    """An agent that calls a tool in most steps, says something in others, and is asked again then."""
    got, sent = None, {"context_management": {"edits": edits}}
    for number, (name, length) in enumerate(steps):
        model = CALL.format(n=number, name=name) if name else SAY.format(n=number)
        if got is None or got.reason != "tool_use":
            got = await talk.say(text(f"Question {number}"), model=model, **sent)
        else:
            got = await talk.answer(got, inside=[text(f"found {number} " * length)], model=model, **sent)


@given(steps=STEPS, clear=st.sampled_from(CLEAR), think=st.sampled_from(THINK))
@settings(max_examples=30)
def test_edited_prompts_go_on(steps: list[tuple[str, int]], clear: Any, think: Any) -> None:
    """Where a request clears what the one before it cleared, its prompt begins with that one's and what was sampled for
    it, and the engine re-uses both."""

    async def check() -> list[str]:
        service, engine = await served(window=20_000)
        talk = Talk(service, engine, TOOLS)
        edits = [{"type": "clear_tool_uses_20250919", **clear}]
        if think is not None:
            edits.insert(0, {"type": "clear_thinking_20251015", **think})
        await talk_on(talk, steps, edits)
        broken = []
        for number, ((job, sampled, before), (later, _, after)) in enumerate(pairwise(talk.past), 2):
            known = [*job.prompt, *sampled]
            same = before.edits == after.edits
            if same and (later.prompt[: len(known)] != known or after.usage.cached < len(known) - 1):
                broken.append(f"turn {number} does not go on: {job.text!r} became {later.text!r}")
        return broken

    assert asyncio.run(check()) == []


@pytest.mark.parametrize("history", ["keep", "template"])
async def test_cleared_thinking_is_not_in_the_prompt(history: Any) -> None:
    """Not even what this server sampled and remembers."""
    template = {"template": FORGETFUL} if history == "template" else {}
    service, engine = await served(choices=Choices(history_thinking=history), **template)
    talk = Talk(service, engine, TOOLS)
    steps = [("look", 1), ("", 1), ("look", 1), ("", 1), ("look", 1)]
    await talk_on(talk, steps, [{"type": "clear_thinking_20251015"}])
    last = talk.past[-1][0]
    shown = "".join(piece.decode() for piece in await engine.spell(last.prompt))
    assert "Now 0" not in shown
    assert "It is 1" not in shown
    (applied,) = talk.past[-1][2].edits
    assert applied.count == 1


async def test_the_cost_of_an_edit() -> None:
    """Of forty turns with one edit every few, the turns between compute no more than what is new."""
    service, engine = await served(window=20_000)
    talk = Talk(service, engine, TOOLS)
    clear = {"type": "clear_tool_uses_20250919", "trigger": {"type": "input_tokens", "value": 4000}}
    await talk_on(talk, [("look", 60)] * 40, [clear])
    edited = [before.edits != after.edits for (_, _, before), (_, _, after) in pairwise(talk.past)]
    computed = [reply.usage.prompt - reply.usage.cached for _, _, reply in talk.past[1:]]
    new = max(tokens for tokens, anew in zip(computed, edited, strict=True) if not anew)
    assert 0 < sum(edited) < 10
    assert new < 500
    assert max(len(job.prompt) for job, _, _ in talk.past) < 6000
