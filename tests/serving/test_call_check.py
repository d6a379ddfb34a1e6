"""Calls of the model's own accord that no grammar holds: checked before the client has them, and asked for again."""

from __future__ import annotations

import msgspec
import pytest

from antiphon.api.conversation import GenerationParams, Sampling, Tool, ToolChoice
from antiphon.api.errors import Internal
from antiphon.api.events import AnyEvent, TextDelta, ToolDelta, ToolStart
from antiphon.api.reply import TextBlock, ToolBlock, fold
from antiphon.constraint.check import MOST_ATTEMPTS
from antiphon.engines.scripted import Rule
from antiphon.serving.model import Choices
from tests.serving.served import emitted, events, reply, said, served, tool

SET = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
LOOK = said("?", tools=(msgspec.structs.replace(tool(at=SET), strict=True),))
PLAN = GenerationParams(max_tokens=1000)


def call(at: str, name: str = "look") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {{"at": {at}}}}}\n</tool_call>'


BAD, GOOD = call("[1, 1]"), call("[1, 2]")


def inputs(told: list[AnyEvent]) -> list[str]:
    return [block.input for block in fold(told).blocks if isinstance(block, ToolBlock)]


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
async def test_a_call_is_asked_for_again_from_its_beginning(cut: int) -> None:
    """However the reply is cut into pieces, the text before a call is told once, the call as it should be; the engine
    goes on behind that text, from the prompt that is cached; what was thrown away is none of the reply's tokens."""
    text = "Let me look. <not a call>\n"
    whole = text + BAD
    pieces = tuple(whole[at : at + cut] for at in range(0, len(whole), cut))
    # The piece in which the call begins is asked for again as well.
    kept = text[: len(text) // cut * cut]
    again = (text + GOOD).removeprefix(kept)
    service, engine = await served(Rule(pieces=pieces, times=1), Rule(pieces=tuple(again)))
    told = await events(service, LOOK)
    assert fold(told).blocks[0] == TextBlock("Let me look. <not a call>")
    assert inputs(told) == ['{"at": [1, 2]}']
    first, second = engine.jobs
    assert second.prompt[: len(first.prompt)] == first.prompt
    assert second.text == first.text + kept
    assert fold(told).usage.output == len(second.prompt) - len(first.prompt) + len(again)
    assert second.max_tokens == first.max_tokens - (len(second.prompt) - len(first.prompt))


async def test_text_before_a_call_streams() -> None:
    """What comes before a call does not wait for the call to be checked, and nothing of the wrong call is told."""
    service, engine = await served(Rule(text=f"Let me look now. {BAD}", times=1), Rule(text=GOOD))
    prepared = await service.prepare("claude-test", LOOK, PLAN)
    told: list[tuple[int, AnyEvent]] = []

    async def take(batch: list[AnyEvent]) -> None:
        told.extend((len(engine.jobs), event) for event in batch)

    await service.run(prepared, take)
    assert {jobs for jobs, event in told if isinstance(event, TextDelta)} == {1}
    assert {jobs for jobs, event in told if isinstance(event, ToolStart | ToolDelta)} == {2}


async def test_a_model_that_goes_on_being_wrong_is_told_as_that() -> None:
    """After so many attempts the reply ends in an error that names the tool and the place in its input."""
    service, engine = await served(Rule(text=f"Hm. {BAD}"))
    with pytest.raises(Internal, match=r"'look' does not match its schema: at \$\.at"):
        await reply(service, LOOK)
    assert len(engine.jobs) == MOST_ATTEMPTS


async def test_another_attempt_has_other_luck() -> None:
    """What would come out the same again is asked for otherwise."""
    service, engine = await served(Rule(text=BAD, times=1), Rule(text=GOOD))
    steady = msgspec.structs.replace(PLAN, sampling=Sampling(temperature=0.0, seed=7))
    await reply(service, LOOK, steady)
    assert [(job.sampling.temperature, job.sampling.seed) for job in engine.jobs] == [(0.0, 7), (0.7, 8)]


async def test_a_model_may_change_its_mind() -> None:
    """The further attempt need not be a call."""
    service, _ = await served(Rule(text=f"Let me look. {BAD}", times=1), Rule(text=" I would rather not."))
    got = await reply(service, LOOK)
    assert (got.blocks, got.reason) == ((TextBlock("Let me look. I would rather not."),), "end_turn")


async def test_calls_before_a_wrong_one_stay() -> None:
    """Of several calls in a reply only the wrong one is asked for again; the client has the first, once."""
    service, engine = await served(Rule(text=f"{call('[3]')}\n{BAD}", times=1), Rule(text=f"\n{GOOD}"))
    told = await events(service, LOOK)
    assert inputs(told) == ['{"at": [3]}', '{"at": [1, 2]}']
    assert fold(told).reason == "tool_use"
    assert len(engine.jobs) == 2


async def test_each_call_has_its_attempts() -> None:
    """A call that came right in the end takes nothing from the next one."""
    several = [Rule(text=BAD, times=MOST_ATTEMPTS - 1), Rule(text=f"{GOOD}\n{BAD}", times=1), Rule(text=f"\n{GOOD}")]
    service, _ = await served(*several)
    assert inputs(await events(service, LOOK)) == ['{"at": [1, 2]}'] * 2


async def test_a_bare_call_is_checked() -> None:
    """A reply that is nothing but a call object is asked for again as a whole."""
    bare = '{"name": "look", "arguments": {"at": [1, 1]}}'
    service, engine = await served(Rule(text=bare, times=1), Rule(text=bare.replace("1, 1", "4")))
    assert inputs(await events(service, LOOK)) == ['{"at": [4]}']
    assert engine.jobs[0].prompt == engine.jobs[1].prompt


@pytest.mark.parametrize(("at", "attempts"), [("[1, 2", 1), ('["x", 3', MOST_ATTEMPTS)])
async def test_a_cut_call_is_a_beginning(at: str, attempts: int) -> None:
    """A call that the limit cut passes as far as it could have matched."""
    pieces = tuple(BAD.partition("[")[0] + at)
    service, engine = await served(Rule(pieces=(*pieces, "x" * 9)))
    wanted = GenerationParams(max_tokens=len(pieces))
    if attempts == 1:
        got = await reply(service, LOOK, wanted)
        assert got.reason == "max_tokens"
        assert isinstance(got.blocks[0], ToolBlock)
        assert got.blocks[0].input.startswith('{"at": [1, ')
    else:
        with pytest.raises(Internal, match=r"at \$\.at"):
            await reply(service, LOOK, wanted)
    assert len(engine.jobs) == attempts


async def test_who_lets_the_model_go_has_what_it_writes() -> None:
    """A tool that says `strict: false`, an operator who holds no calls, and a schema that nothing matches: such calls
    stream as the model writes them."""
    loose = msgspec.structs.replace(LOOK.callable_tools[0], strict=False)
    never = Tool(name="look", schema={**loose.schema, "allOf": [{"type": "string"}]})
    cases = [(said("?", tools=(loose,)), Choices()), (LOOK, Choices(hold_calls="never"))]
    for conversation, choices in [*cases, (said("?", tools=(never,)), Choices())]:
        service, engine = await served(Rule(text=BAD), choices=choices)
        told = await events(service, conversation)
        assert inputs(told) == ['{"at": [1, 1]}']
        assert len(engine.jobs) == 1
        assert sum(isinstance(event, ToolDelta) for event in told) > 1


async def test_calls_of_other_tools_stream() -> None:
    """Beside a tool whose calls are checked, one that was let go streams its input, before and after a wrong call."""
    tools = (*LOOK.callable_tools, msgspec.structs.replace(tool("jump", at=SET), strict=False))
    jump = call("[5, 5]", "jump")
    service, engine = await served(Rule(text=f"{jump}\n{BAD}", times=1), Rule(text=f"\n{GOOD}\n{jump}"))
    prepared = await service.prepare("claude-test", said("?", tools=tools), PLAN)
    told = await emitted(service, prepared)
    assert inputs(told) == ['{"at": [5, 5]}', '{"at": [1, 2]}', '{"at": [5, 5]}']
    assert len(engine.jobs) == 2


async def test_one_call_is_one_call() -> None:
    """Where one call is allowed, the first right one ends the reply."""
    service, _ = await served(Rule(text=f"{BAD}\n{GOOD}", times=1), Rule(text=f"{call('[8]')}\n{GOOD}"))
    one = GenerationParams(max_tokens=1000, tool_choice=ToolChoice(parallel=False))
    assert inputs(await events(service, LOOK, one)) == ['{"at": [8]}']
