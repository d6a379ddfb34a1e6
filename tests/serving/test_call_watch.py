"""An engine that can go back stands a grammar beside calls alone, not beside the text before them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec
import pytest

from antiphon.api.conversation import GenerationParams, ThinkingPolicy, ToolChoice
from antiphon.api.events import AnyEvent, TextDelta, ThinkingDelta, TokensSampled, ToolStart
from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, ToolBlock
from antiphon.api.tokens import TokenReport
from antiphon.engines import Description, Job, Piece, Prefilled
from antiphon.engines.scripted import Rule, Scripted
from antiphon.serving.token_model.call_watch import CallWatch
from tests.serving.served import emitted, reply, said, served, tool

CALL = '<tool_call>\n{"name": "look", "arguments": {"at": 1}}\n</tool_call>'
LOOK = said("?", tools=(tool(at={"type": "integer"}),))
PLAN = GenerationParams(max_tokens=1000)


class _Returning(Scripted):
    """An engine that takes grammars, and goes back at no cost."""

    async def describe(self) -> Description:
        return msgspec.structs.replace(await super().describe(), grammar="llguidance", goes_back=True)


async def _replied(*rules: Rule, plan: GenerationParams = PLAN) -> tuple[Reply, list[Job]]:
    service, engine = await served(*rules, kind=_Returning)
    return await reply(service, LOOK, plan), engine.jobs


def _held(jobs: list[Job]) -> list[bool]:
    return [job.grammar is not None for job in jobs]


@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
async def test_a_call_is_held_from_its_beginning(cut: int) -> None:
    """The text is generated without a grammar and told once; the call is generated with one, behind that text, and may
    come out otherwise than it began. What was thrown away is none of the reply's tokens."""
    text = "Let me look. <not a call>\n"
    whole = text + CALL.replace("look", "nothing")
    pieces = tuple(whole[at : at + cut] for at in range(0, len(whole), cut))
    kept = text[: len(text) // cut * cut]
    again = (text + CALL).removeprefix(kept)
    got, jobs = await _replied(Rule(pieces=pieces, times=1), Rule(pieces=tuple(again)))
    assert [type(block) for block in got.blocks] == [TextBlock, ToolBlock]
    assert got.blocks[0] == TextBlock("Let me look. <not a call>")
    assert _held(jobs) == [False, True]
    assert jobs[1].prompt[: len(jobs[0].prompt)] == jobs[0].prompt
    assert jobs[1].text == jobs[0].text + kept
    assert got.usage.output == len(jobs[1].prompt) - len(jobs[0].prompt) + len(again)
    assert jobs[1].max_tokens == jobs[0].max_tokens - (len(jobs[1].prompt) - len(jobs[0].prompt))
    assert jobs[1].sampling == jobs[0].sampling


async def test_text_streams_without_a_grammar() -> None:
    """A reply without calls is generated at once, without a grammar, and each piece told as it comes."""
    service, engine = await served(Rule(pieces=("I ", "see ", "<b>", " no ", "tool.")), kind=_Returning)
    told = await emitted(service, await service.prepare("claude-test", LOOK, PLAN))
    assert [event.text for event in told if isinstance(event, TextDelta)] == ["I", " see", " <b>", " no", " tool."]
    assert _held(engine.jobs) == [False]


async def test_what_only_looks_like_a_beginning_is_told() -> None:
    """A reply that ends in what might have become a call ends in that text."""
    got, jobs = await _replied(Rule(pieces=("See ", "<tool", "_ca")))
    assert got.blocks == (TextBlock("See <tool_ca"),)
    assert _held(jobs) == [False]


async def test_thinking_needs_no_grammar() -> None:
    """Thinking is free in any case, a call that it speaks of too; the call that follows is held, and all of the
    thinking counts."""
    thought = ("<think>", "I write ", "<tool_", "call>", " now.", "</think>")
    rules = Rule(pieces=(*thought, "\n", CALL), times=1), Rule(pieces=tuple("\n" + CALL))
    plan = GenerationParams(max_tokens=1000, thinking=ThinkingPolicy(mode="adaptive"))
    got, jobs = await _replied(*rules, plan=plan)
    assert [type(block) for block in got.blocks] == [ThinkingBlock, ToolBlock]
    assert _held(jobs) == [False, True]
    assert jobs[1].text.endswith("</think>\n") or jobs[1].text.endswith("</think>")
    assert got.usage.thinking >= len(thought) - 2


async def test_thinking_that_is_cut_short_stays_in_order() -> None:
    """Where thinking reaches its budget in what may be the beginning of something else, all of it is told before the
    answer, and the answer is free until its call begins."""
    rules = (
        Rule(pieces=("<think>", "a ", "b ", "<tool"), times=1),
        Rule(pieces=("Well. ", CALL), times=1),
        Rule(text=CALL),
    )
    plan = GenerationParams(max_tokens=1000, thinking=ThinkingPolicy(mode="enabled", budget=3))
    service, engine = await served(*rules, kind=_Returning)
    told: list[AnyEvent] = await emitted(service, await service.prepare("claude-test", LOOK, plan))
    kinds = [type(event) for event in told if isinstance(event, ThinkingDelta | TextDelta | ToolStart)]
    assert kinds == sorted(kinds, key=[ThinkingDelta, TextDelta, ToolStart].index)
    assert _held(engine.jobs) == [False, False, True]


async def test_a_call_that_nobody_may_make_is_not_begun() -> None:
    """With `tool_choice` none the text before a beginning stays, and from there the grammar keeps the model from it."""
    plan = GenerationParams(max_tokens=1000, tool_choice=ToolChoice(mode="none"))
    got, jobs = await _replied(Rule(pieces=("Well, ", CALL), times=1), Rule(text="no."), plan=plan)
    assert got.blocks == (TextBlock("Well, no."),)
    assert got.reason == "end_turn"
    assert _held(jobs) == [False, True]


async def test_a_stop_sequence_ends_the_text() -> None:
    """A stop sequence before a call ends the reply: nothing is asked for again."""
    plan = GenerationParams(max_tokens=1000, stop_sequences=("END",))
    got, jobs = await _replied(Rule(pieces=(f"Well END {CALL}",)), plan=plan)
    assert (got.reason, got.blocks) == ("stop_sequence", (TextBlock("Well "),))
    assert _held(jobs) == [False]


async def test_what_is_forced_is_held_from_the_first_token() -> None:
    """A demand has no text before it that could be free."""
    _, jobs = await _replied(
        Rule(text=CALL), plan=GenerationParams(max_tokens=1000, tool_choice=ToolChoice(mode="any"))
    )
    assert _held(jobs) == [True]


async def test_an_engine_that_does_not_go_back() -> None:
    """It gets the grammar with the prompt."""
    service, engine = await served(Rule(text=CALL), kind=_Staying)
    await reply(service, LOOK)
    assert _held(engine.jobs) == [True]


class _InBursts(_Returning):
    """Each read brings three pieces."""

    async def generate(self, job: Job) -> AsyncGenerator[Prefilled | list[Piece], None]:
        burst = list[Piece]()
        async for read in super().generate(job):
            if isinstance(read, Prefilled):
                yield read
                continue
            burst += read
            if len(burst) == 3 or burst[-1].end != "none":
                yield burst
                burst = []


async def test_tokens_that_are_thrown_away_are_not_reported() -> None:
    """Where a read brings text that stays and text that is generated anew, what is told of tokens is what the reply was
    made of, each once."""
    text, again = ("Let ", "me ", "look<", "tool", "_call>"), ("look\n", CALL)
    plan = GenerationParams(max_tokens=1000, report=TokenReport(logprobs=True))
    for shift in range(3):
        begun = ("a ",) * shift + text
        service, engine = await served(Rule(pieces=begun, times=1), Rule(pieces=again), kind=_InBursts)
        told = await emitted(service, await service.prepare("claude-test", LOOK, plan))
        ids = [token.id for event in told if isinstance(event, TokensSampled) for token in event.tokens]
        first, second = engine.jobs
        assert ids == [*second.prompt[len(first.prompt) :], *engine.sampled[-1]]


class _Staying(_Returning):
    async def describe(self) -> Description:
        return msgspec.structs.replace(await super().describe(), goes_back=False)


@pytest.mark.parametrize("text", ["a<b>", "<tool_call", "x<tool<tool_call>", "<tool_call><tool_call>"])
def test_the_watch_sees_every_beginning(text: str) -> None:
    """However the text is cut, a beginning is seen with its last letter, and what may become one is not settled."""
    for cut in range(1, len(text) + 1):
        watch, read = CallWatch(["<tool_call>"]), ""
        for at in range(0, len(text), cut):
            watch.read(text[at : at + cut], aside=False)
            read += text[at : at + cut]
            assert watch.begun == ("<tool_call>" in read)
            if watch.begun:
                break
            assert watch.settled == (not any(read.endswith("<tool_call>"[:size]) for size in range(1, 11)))
