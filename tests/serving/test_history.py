"""`history_thinking`: what of the model's thinking stays in the prompt when the conversation goes on."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.api.conversation import Conversation, Part, Text, Thinking, ToolResult, ToolUse, Turn
from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, ToolBlock
from antiphon.engines.scripted import Rule, Scripted
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from tests.serving.served import reply, served, tool

CALL = '<think>\nlook first\n</think>\n\n<tool_call>\n{"name":  "look", "arguments": {}}\n</tool_call>'
RULES = (
    Rule(
        when=r"</tool_response><\|im_end\|>\s*<\|im_start\|>assistant\s*$", text="<think>\nit came\n</think>\n\nDone."
    ),
    Rule(text=CALL),
)
# The way of the widest spread family: thoughts are shown since the last question only.
FORGETFUL = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}"
    "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ 'user' if m.role == 'tool' else m.role }}\n"
    "{% if m.role == 'tool' %}<tool_response>{{ m.content }}</tool_response>{% else %}"
    "{% if m.reasoning_content and loop.index0 > ns.last %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}\n<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}'
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOOLS = (tool("look"),)


class Talk:
    """A client that sends back what it got, with the thinking or without."""

    def __init__(self, service: Service, *, thinking: bool) -> None:
        self._service, self._thinking = service, thinking
        self.turns: list[Turn] = []

    async def say(self, *parts: Part) -> Reply:
        self.turns.append(Turn(role="user", parts=parts))
        got = await reply(self._service, Conversation(tools=TOOLS, turns=tuple(self.turns)))
        kept: list[Part] = []
        for block in got.blocks:
            match block:
                case ThinkingBlock(text):
                    kept.extend([Thinking(text)] if self._thinking else [])
                case TextBlock(text):
                    kept.append(Text(text))
                case ToolBlock():
                    kept.append(ToolUse(id=block.id, name=block.name, input=block.input))
        self.turns.append(Turn(role="assistant", parts=tuple(kept)))
        return got

    async def loop(self, question: str) -> None:
        got = await self.say(Text(question))
        call = next(block for block in got.blocks if isinstance(block, ToolBlock))
        await self.say(ToolResult(tool_use_id=call.id, parts=(Text("42"),)))


async def talked(choice: Any, *, thinking: bool) -> Scripted:
    service, engine = await served(*RULES, template=FORGETFUL, choices=Choices(history_thinking=choice))
    talk = Talk(service, thinking=thinking)
    await talk.loop("one")
    await talk.loop("two")
    return engine


def common(one: Any, other: Any) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


@pytest.mark.parametrize("thinking", [True, False])
async def test_kept_thoughts_keep_the_prefix(thinking: bool) -> None:
    """Kept, every prompt goes on from the one before it, thoughts and all, whatever the client sends back of them."""
    engine = await talked("keep", thinking=thinking)
    for job, later in zip(engine.jobs, engine.jobs[1:], strict=False):
        assert common(job.prompt, later.prompt) == len(job.prompt)
    assert len(engine.jobs) == 4
    sampled = engine.sampled[0]
    last = list(engine.jobs[3].prompt)
    start = len(engine.jobs[0].prompt)
    assert last[start : start + len(sampled)] == sampled


@pytest.mark.parametrize("thinking", [True, False])
async def test_the_template_may_drop_thoughts(thinking: bool) -> None:
    """Left to the template, thoughts before the last question are gone from the prompt, at the price of computing anew
    from there; within a tool loop, where the template shows them, the prompt goes on from the one before it."""
    engine = await talked("template", thinking=thinking)
    first, second, third, fourth = engine.jobs
    assert common(first.prompt, second.prompt) == len(first.prompt)
    assert common(third.prompt, fourth.prompt) == len(third.prompt)
    assert common(second.prompt, third.prompt) < len(second.prompt)
    assert "look first" not in third.text
    fresh = await engine.tokenise([third.text])
    assert list(third.prompt) == fresh
    sampled = engine.sampled[2]
    assert list(fourth.prompt[len(third.prompt) :][: len(sampled)]) == sampled
