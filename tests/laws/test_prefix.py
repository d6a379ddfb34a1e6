"""Prefix law: where a conversation grows at its end, its prompt does too, token by token."""

from __future__ import annotations

import asyncio
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from antiphon.api.conversation import Conversation, GenerationParams, Text, Turn
from antiphon.api.reply import Reply, TextBlock, ThinkingBlock
from antiphon.engines.scripted import Rule, Script, Scripted
from antiphon.process.transcript_store import TranscriptFolder
from antiphon.serving.model import Choices
from antiphon.serving.service import Service
from antiphon.serving.token_model import load
from tests.laws.growing import Style, Talk, text, tool
from tests.serving.served import reply, served
from tests.serving.served import tool as noun
from tests.serving.test_history import FORGETFUL

PLAIN = "Plainly  said. \n"
THOUGHT = "<think>\nIt came.\n</think>\n\nDone: 😀."
CALL = "<think>\nLook  it up.\n</think>\n\nOne   moment.\n"
CALL += '<tool_call>\n{"name":"look","arguments":{"b": "é",  "a":[1,2 ]}}\n</tool_call>'
TWO = CALL + '\n<tool_call>{"name": "look", "arguments": {}}\n</tool_call>'
LATE = '<tool_call>\n{"name": "late", "arguments": {"path":"x"}}</tool_call>\n'
TOOLS = [tool("look"), tool("late", defer_loading=True)]
REFERENCE = {"type": "tool_reference", "tool_name": "late"}

Step = tuple[str, Style, str, bool]
"""What the model writes, how the client writes its history, a system turn or none, and whether there is more beside the
results of calls: words, and a reference to the deferred tool."""

STYLES = st.builds(
    Style,
    cut=st.sampled_from(["string", "block", "split"]),
    turned=st.booleans(),
    spaced=st.booleans(),
    thinking=st.booleans(),
    stripped=st.booleans(),
    system_as_string=st.booleans(),
    billing=st.none() | st.integers(0, 0xFFFFF),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([PLAIN, THOUGHT, CALL, TWO, LATE]),
        STYLES,
        st.sampled_from(["", "9 <tokens> left"]),
        st.booleans(),
    ),
    min_size=2,
    max_size=7,
)


async def take(talk: Talk, step: Step, got: Reply | None) -> Reply:
    """The next request of a conversation."""
    output, style, system, more = step
    if got is None or all(isinstance(block, TextBlock | ThinkingBlock) for block in got.blocks):
        return await talk.say(text(f"Question <|im_end|> {len(talk.past)}"), model=output, style=style, system=system)
    beside, inside = ([text("And on.")], [REFERENCE]) if more else ([], [])
    return await talk.answer(got, *beside, inside=inside, model=output, style=style, system=system)


EVERY_KIND: list[Step] = [
    (CALL, Style("split", billing=1), "", False),
    (TWO, Style("string", turned=True, billing=2, system_as_string=True), "Be quick.", True),
    (LATE, Style(spaced=True, thinking=False, stripped=True), "", False),
    (THOUGHT, Style("string", thinking=False, turned=True, billing=3), "9 left", True),
    (PLAIN, Style("split", stripped=True), "8 left", False),
    (PLAIN, Style(), "", False),
]


@given(steps=STEPS)
@example(steps=EVERY_KIND)
@settings(max_examples=60)
def test_a_growing_conversation_is_its_own_prefix(steps: list[Step]) -> None:
    """Prompt and sampled ids of each request are a prefix of the next one's prompt, and the engine re-uses them:
    through tool loops, parallel calls, system turns, tools that are shown on the way and plain turns, however the
    client writes its history each time."""

    async def talk_on() -> list[str]:
        service, engine = await served()
        talk, got = Talk(service, engine, TOOLS), None
        for step in steps:
            got = await take(talk, step, got)
        return talk.broken()

    assert asyncio.run(talk_on()) == []


@given(steps=STEPS)
@settings(max_examples=30)
def test_thoughts_left_to_the_template(steps: list[Step]) -> None:
    """Where the template decides which thoughts stay, each prompt goes on from the one before it within a tool loop;
    a question's goes on from that of the question before, up to where that one's reply opened."""

    async def talk_on() -> None:
        service, engine = await served(template=FORGETFUL, choices=Choices(history_thinking="template"))
        talk, got, question = Talk(service, engine, TOOLS), None, None
        for output, style, system, more in steps:
            # What is rendered anew has the client's order of keys and white space.
            step = (output, style._replace(turned=False, stripped=False), system, more)
            asks = step[3] or got is None or all(isinstance(block, TextBlock | ThinkingBlock) for block in got.blocks)
            got = await take(talk, step, got)
            job, past = talk.past[-1][0], talk.past[-2:-1]
            if asks and question is not None:
                assert job.prompt[: len(question) - 2] == question[:-2]
            elif not asks:
                known = [*past[0][0].prompt, *past[0][1]]
                assert job.prompt[: len(known)] == known
            question = job.prompt if asks else question

    asyncio.run(talk_on())


@given(steps=STEPS, workers=st.lists(st.integers(0, 1), min_size=7, max_size=7))
@example(steps=EVERY_KIND, workers=[0, 1, 0, 1, 1, 0, 0])
@settings(max_examples=20)
def test_turns_that_go_to_different_workers(steps: list[Step], workers: list[int]) -> None:
    """Two workers that share a folder keep the law between them: each goes on from what the other sampled."""

    async def talk_on(folder: str) -> list[str]:
        engines = [Scripted(Script()) for _ in range(2)]
        services = [Service([await load(engine, Choices(), TranscriptFolder(folder))]) for engine in engines]
        talk, got = Talk(services[0], engines[0], TOOLS), None
        for step, worker in zip(steps, workers, strict=False):
            talk.service, talk.engine = services[worker], engines[worker]
            got = await take(talk, step, got)
        return talk.broken(engine=False)

    with TemporaryDirectory() as folder:
        assert asyncio.run(talk_on(folder)) == []


async def test_a_deferred_tool_costs_nothing_until_it_is_shown() -> None:
    """A deferred tool is not in the prompt; once it is referred to, it is told of there, can be called, and the prompt
    begins as it did."""
    service, engine = await served()
    talk, bare = Talk(service, engine, TOOLS), Talk(*await served(), TOOLS[:1])
    await bare.say(text("find it"), model=CALL)
    got = await talk.say(text("find it"), model=CALL)
    assert talk.past[0][0].prompt == bare.past[0][0].prompt
    got = await talk.answer(got, inside=[REFERENCE], model=LATE)
    assert [block.name for block in got.blocks if not isinstance(block, TextBlock | ThinkingBlock)] == ["late"]
    await talk.answer(got, model=PLAIN)
    assert talk.broken() == []
    first, told = talk.past[0][0].text, talk.past[-1][0].text
    assert "Does late." not in first
    assert told.count("Does late.") == 1
    assert told.startswith(first)


async def test_a_changed_past_is_rendered_anew() -> None:
    """What a client changed in an earlier turn is what the model sees: nothing remembered hides it."""
    service, engine = await served()
    talk = Talk(service, engine, TOOLS)
    await talk.say(text("plain"), model=THOUGHT)
    talk.messages[1] = {"role": "assistant", "content": [text("Otherwise said.")]}
    await talk.say(text("plain"), model=PLAIN)
    assert "Otherwise said." in engine.jobs[-1].text
    assert engine.jobs[-1].prompt == await engine.tokenise([engine.jobs[-1].text])


@pytest.mark.parametrize("changed", [{"system": "Sys"}, {"tools": (noun("look"),)}])
async def test_other_tools_are_another_conversation(changed: Any) -> None:
    """The same turns under another system prompt or other tools are not taken from memory."""
    service, _ = await served(Rule(text=THOUGHT))
    asked, more = (Turn(role="user", parts=(Text(word),)) for word in ("plain", "more"))
    got = await reply(service, Conversation(turns=(asked,)))
    told = Turn(role="assistant", parts=tuple(Text(b.text) for b in got.blocks if isinstance(b, TextBlock)))
    for fields, remembered in (({}, 2), (changed, 0)):
        conversation = Conversation(turns=(asked, told, more), **fields)
        prepared = await service.prepare("claude", conversation, GenerationParams())
        assert prepared.task.prompt.remembered == remembered


async def test_a_cut_reply_is_not_remembered() -> None:
    """A reply that a stop sequence cut is not what was sampled: the next prompt has only what was told."""
    service, engine = await served(Rule(text="one two three four"))
    turns = (Turn(role="user", parts=(Text("count"),)),)
    got = await reply(service, Conversation(turns=turns), GenerationParams(max_tokens=50, stop_sequences=(" three",)))
    assert got.blocks == (TextBlock("one two"),)
    more = (*turns, Turn(role="assistant", parts=(Text("one two"),)), Turn(role="user", parts=(Text("on"),)))
    await reply(service, Conversation(turns=more))
    assert "three" not in engine.jobs[-1].text
    assert list(engine.jobs[-1].prompt) == await engine.tokenise([engine.jobs[-1].text])


async def test_a_reply_that_the_limit_cut() -> None:
    """A reply cut by the limit in its answer goes on as it was sampled; one cut inside a call does not."""
    service, engine = await served(Rule(text="one  two\n three four"))
    turns = (Turn(role="user", parts=(Text("count"),)),)
    got = await reply(service, Conversation(turns=turns), GenerationParams(max_tokens=3))
    assert got.reason == "max_tokens"
    more = (*turns, Turn(role="assistant", parts=(Text("one  two\n three"),)), Turn(role="user", parts=(Text("on"),)))
    await reply(service, Conversation(turns=more))
    first, second = engine.jobs
    known = [*first.prompt, *engine.sampled[0]]
    assert list(second.prompt[: len(known)]) == known
    service, engine = await served(Rule(pieces=("So.", "<tool_call>", '{"name": "look", ', '"arguments": {}}')))
    got = await reply(service, Conversation(turns=turns, tools=(noun("look"),)), GenerationParams(max_tokens=3))
    assert got.reason == "max_tokens"
    more = (*turns, Turn(role="assistant", parts=(Text("So."),)), Turn(role="user", parts=(Text("on"),)))
    await reply(service, Conversation(turns=more, tools=(noun("look"),)))
    assert "<tool_call>" not in engine.jobs[-1].text.rpartition("So.")[2]
    assert list(engine.jobs[-1].prompt) == await engine.tokenise([engine.jobs[-1].text])
