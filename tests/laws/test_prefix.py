"""Prefix law: where a conversation grows at its end, its prompt does too, token by token."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from antiphon.conversation import Conversation, Generation, Part, Text, Thinking, ToolResult, ToolUse, Turn
from antiphon.engines import Job
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.events import Reply, TextBlock, ThinkingBlock, ToolBlock
from antiphon.model import Choices, load
from antiphon.service import Service
from antiphon.shelf import Folder
from tests.service.served import reply, served, tool

CALL = "<think>\nLook  it up.\n</think>\n\nOne   moment.\n"
CALL += '<tool_call>\n{"name":"look","arguments":{"b": "é",  "a":[1,2 ]}}\n</tool_call>'
TWO = CALL + '\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
RULES = (
    Rule(when=r"two please<\|im_end\|>\s*<\|im_start\|>assistant\s*$", text=TWO),
    Rule(
        when=r"</tool_response><\|im_end\|>\s*<\|im_start\|>assistant\s*$",
        text="<think>\nIt came.\n</think>\n\nDone: 😀.",
    ),
    Rule(when=r"plain<\|im_end\|>\s*<\|im_start\|>assistant\s*$", text="Plainly said. \n"),
    Rule(text=CALL),
)
TOOLS = (tool("look"),)


class Talk:
    """A client that sends its whole history each time, in a way of its own."""

    def __init__(self, service: Service, engine: Scripted, *, thinking: bool, spaced: bool) -> None:
        self.service, self.engine = service, engine
        self.thinking, self.spaced = thinking, spaced
        self.turns: list[Turn] = []
        self.past: list[tuple[Job, Reply]] = []

    async def say(self, *parts: Part) -> Reply:
        self.turns.append(Turn(role="user", parts=parts))
        got = await reply(self.service, Conversation(system="Sys", tools=TOOLS, turns=tuple(self.turns)))
        self.turns.append(Turn(role="assistant", parts=tuple(self._echo(got))))
        self.past.append((self.engine.jobs[-1], got))
        return got

    def _echo(self, got: Reply) -> list[Part]:
        parts: list[Part] = []
        for block in got.blocks:
            match block:
                case TextBlock(text):
                    parts.append(Text(text.strip() if self.spaced else text))
                case ThinkingBlock(text):
                    parts.extend([Thinking(text)] if self.thinking else [])
                case ToolBlock():
                    value: Any = json.loads(block.input)
                    if self.spaced:
                        value = dict(reversed(value.items()))
                    parts.append(ToolUse(id=block.id, name=block.name, input=json.dumps(value)))
        return parts

    async def answer(self, got: Reply) -> Reply:
        calls = [block for block in got.blocks if isinstance(block, ToolBlock)]
        return await self.say(*(ToolResult(tool_use_id=call.id, parts=(Text("42"),)) for call in calls))


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("spaced", [True, False])
async def test_growing_conversation(thinking: bool, spaced: bool) -> None:
    """Prompt and sampled ids of each request are a prefix of the next one's prompt: through tool loops, parallel calls
    and plain turns, whether the client keeps thinking or not, however it writes the arguments of a call."""
    service, engine = await served(*RULES)
    talk = Talk(service, engine, thinking=thinking, spaced=spaced)
    for text in ("find it", "two please", "plain", "find it again"):
        got = await talk.say(Text(text))
        if text != "plain":
            await talk.answer(got)
    for (job, _), (later, _) in zip(talk.past, talk.past[1:], strict=False):
        sampled = next(rule for rule in RULES if re.search(rule.when, job.text)).spoken()
        known = [*job.prompt, *(Scripted.id_of(piece) for piece in sampled)]
        assert list(later.prompt[: len(known)]) == known


async def test_a_changed_past_is_rendered_anew() -> None:
    """What a client changed in an earlier turn is what the model sees: nothing remembered hides it."""
    service, engine = await served(*RULES)
    talk = Talk(service, engine, thinking=True, spaced=False)
    await talk.say(Text("plain"))
    talk.turns[1] = Turn(role="assistant", parts=(Text("Otherwise said."),))
    await talk.say(Text("plain"))
    assert "Otherwise said." in engine.jobs[-1].text
    fresh, other = await served(*RULES)
    await reply(fresh, Conversation(system="Sys", tools=TOOLS, turns=tuple(talk.turns[:3])))
    assert list(engine.jobs[-1].prompt) == list(other.jobs[-1].prompt)


async def test_other_tools_are_another_conversation() -> None:
    """The same turns under another system prompt or other tools are not taken from memory."""
    service, engine = await served(*RULES)
    talk = Talk(service, engine, thinking=True, spaced=False)
    await talk.say(Text("plain"))
    turns = (*talk.turns, Turn(role="user", parts=(Text("plain"),)))
    for changed in (Conversation(turns=turns, tools=TOOLS), Conversation(system="Sys", turns=turns)):
        prepared = await service.prepare("claude", changed, Generation())
        fresh, _ = await served(*RULES)
        assert prepared.prompt.ids == (await fresh.prepare("claude", changed, Generation())).prompt.ids


async def test_a_cut_reply_is_not_remembered() -> None:
    """A reply that a stop sequence cut is not what was sampled: the next prompt has only what was told."""
    service, engine = await served(Rule(text="one two three four"))
    turns = (Turn(role="user", parts=(Text("count"),)),)
    got = await reply(service, Conversation(turns=turns), Generation(max_tokens=50, stop_sequences=(" three",)))
    assert got.blocks == (TextBlock("one two"),)
    more = (*turns, Turn(role="assistant", parts=(Text("one two"),)), Turn(role="user", parts=(Text("on"),)))
    await reply(service, Conversation(turns=more))
    assert "three" not in engine.jobs[-1].text
    assert list(engine.jobs[-1].prompt) == await engine.tokenise([engine.jobs[-1].text])


async def test_a_reply_that_the_limit_cut() -> None:
    """A reply cut by the limit in its answer goes on as it was sampled; one cut inside a call does not."""
    service, engine = await served(Rule(text="one  two\n three four"))
    turns = (Turn(role="user", parts=(Text("count"),)),)
    got = await reply(service, Conversation(turns=turns), Generation(max_tokens=3))
    assert got.reason == "max_tokens"
    more = (*turns, Turn(role="assistant", parts=(Text("one  two\n three"),)), Turn(role="user", parts=(Text("on"),)))
    await reply(service, Conversation(turns=more))
    first, second = engine.jobs
    known = [*first.prompt, *map(Scripted.id_of, ("one", "  two", "\n three"))]
    assert list(second.prompt[: len(known)]) == known
    service, engine = await served(Rule(pieces=("So.", "<tool_call>", '{"name": "look", ', '"arguments": {}}')))
    got = await reply(service, Conversation(turns=turns, tools=TOOLS), Generation(max_tokens=3))
    assert got.reason == "max_tokens"
    more = (*turns, Turn(role="assistant", parts=(Text("So."),)), Turn(role="user", parts=(Text("on"),)))
    await reply(service, Conversation(turns=more, tools=TOOLS))
    assert "<tool_call>" not in engine.jobs[-1].text.rpartition("So.")[2]
    assert list(engine.jobs[-1].prompt) == await engine.tokenise([engine.jobs[-1].text])


async def test_turns_that_go_to_different_workers(tmp_path: Path) -> None:
    """Two workers that share a folder keep the law between them: each goes on from what the other sampled."""
    engines = [Scripted(Script(rules=RULES)) for _ in range(2)]
    shelves = [Folder(str(tmp_path)) for _ in engines]
    pairs = [
        (Service([await load(engine, Choices(), shelf)]), engine)
        for engine, shelf in zip(engines, shelves, strict=True)
    ]
    talk = Talk(*pairs[0], thinking=False, spaced=True)
    for number, text in enumerate(("find it", "two please", "plain", "find it again"), 1):
        got = await talk.say(Text(text))
        talk.service, talk.engine = pairs[number % 2]
        if text != "plain":
            await talk.answer(got)
    assert all(engine.jobs for engine in engines)
    for (job, _), (later, _) in pairwise(talk.past):
        sampled = next(rule for rule in RULES if re.search(rule.when, job.text)).spoken()
        known = [*job.prompt, *(Scripted.id_of(piece) for piece in sampled)]
        assert list(later.prompt[: len(known)]) == known
