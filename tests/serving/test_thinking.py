"""Thinking: bounded by its budget, switched off where asked, never in the way of an answer."""

from __future__ import annotations

import pytest

from antiphon.api.conversation import GenerationParams, ThinkingPolicy
from antiphon.api.reply import TextBlock, ThinkingBlock
from antiphon.engines.scripted import Rule
from tests.serving.served import reply, said, served

ENDLESS = Rule(pieces=("<think>", "\n", *["hmm "] * 500, "</think>", "\n\n", "late"))
ANSWER = Rule(when=r"hmm\s*</think>\n\n$|<think>\s*</think>\n\n$", text="42")


@pytest.mark.parametrize("budget", [1, 7, 100])
async def test_thinking_stops_at_its_budget(budget):
    """Thinking stops at its budget to the token; the answer goes on from the same prefix."""
    service, engine = await served(ANSWER, ENDLESS)
    policy = ThinkingPolicy(mode="enabled", budget=budget)
    got = await reply(service, said("?"), GenerationParams(max_tokens=1000, thinking=policy))
    assert got.usage.thinking == budget
    assert got.blocks[-1] == TextBlock("42")
    first, second = engine.jobs
    assert list(second.prompt[: len(first.prompt)]) == list(first.prompt)
    assert second.max_tokens == 1000 - (len(second.prompt) - len(first.prompt))


async def test_room_for_the_answer():
    """Without any budget a quarter of the reply is kept for the answer."""
    service, _ = await served(ANSWER, ENDLESS)
    got = await reply(service, said("?"), GenerationParams(max_tokens=100))
    assert got.usage.thinking == 75
    assert got.blocks[-1] == TextBlock("42")


async def test_thinking_can_be_switched_off():
    """Thinking that was switched off is closed by the template, and at once where the model opens it all the same."""
    service, engine = await served(ANSWER, ENDLESS)
    off = GenerationParams(max_tokens=100, thinking=ThinkingPolicy(mode="disabled"))
    got = await reply(service, said("?"), off)
    assert "<think>\n\n</think>" in engine.jobs[0].text
    assert got.blocks == (TextBlock("42"),)
    stubborn, _ = await served(Rule(when=r"<think>\n*</think>\n\n.*<think>.*</think>", text="42"), ENDLESS)
    got = await reply(stubborn, said("?"), off)
    assert got.blocks == (TextBlock("42"),)
    assert got.usage.thinking == 0


async def test_model_that_closes_by_itself():
    """Thinking within its budget is left alone: one job, everything as the model wrote it."""
    service, engine = await served(Rule(text="<think>\nshort\n</think>\n\nHello there."))
    got = await reply(service, said("?"))
    assert got.blocks == (ThinkingBlock("short"), TextBlock("Hello there."))
    assert len(engine.jobs) == 1


async def test_model_that_will_not_stop_thinking() -> None:
    """A model that opens its thinking again and again ends, whatever its limit."""
    service, engine = await served(Rule(text="<think>\nhmm hmm"))
    got = await reply(
        service, said("?"), GenerationParams(max_tokens=100_000, thinking=ThinkingPolicy(mode="disabled"))
    )
    assert got.blocks == ()
    assert len(engine.jobs) <= 4
    assert engine.jobs[0].banned == engine.jobs[1].banned != ()
    short = await reply(service, said("?"), GenerationParams(max_tokens=2, thinking=ThinkingPolicy(mode="disabled")))
    assert short.reason == "max_tokens"
