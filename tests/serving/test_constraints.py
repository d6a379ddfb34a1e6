"""Demands on the output: held by a grammar where the engine takes one, checked where it does not."""

from __future__ import annotations

import json
from typing import Any

import llguidance
import msgspec
import pytest

from antiphon.api.conversation import Conversation, GenerationParams, Sampling, ThinkingPolicy, Tool, ToolChoice
from antiphon.api.errors import BadRequest, Internal
from antiphon.api.reply import TextBlock, ThinkingBlock, ToolBlock
from antiphon.constraint import Pattern, dialects, lark
from antiphon.constraint.check import MOST_ATTEMPTS
from antiphon.constraint.plan import Demand, Speech, plan
from antiphon.engines import Description
from antiphon.engines.scripted import Rule, Scripted
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.serving.model import Choices
from antiphon.serving.token_model.grammar_cache import GrammarCache
from tests.serving.served import reply, said, served, tool

GOOD = '<tool_call>\n{"name": "look", "arguments": {"at": 1}}\n</tool_call>'
BAD = '<tool_call>\n{"name": "look", "arguments": {"at": "one"}}\n</tool_call>'
HERMES = Speech(format=format_named("hermes"), reasoning=reasoning_named("think"))
FORCED = GenerationParams(max_tokens=100, tool_choice=ToolChoice(mode="any"))
LOOK = said("?", tools=(tool(at={"type": "integer"}),))


@pytest.mark.parametrize("first", [BAD, "I will not.", GOOD.replace("look", "jump")])
async def test_a_broken_demand_is_asked_for_again(first: str) -> None:
    """Without a grammar, a reply that breaks the demand is asked for once more."""
    service, engine = await served(Rule(text=first, times=1), Rule(text=GOOD))
    got = await reply(service, LOOK, FORCED)
    assert [type(block) for block in got.blocks] == [ToolBlock]
    assert got.reason == "tool_use"
    assert len(engine.jobs) == 2


async def test_breaking_the_demand_again_is_an_error_that_says_how() -> None:
    """A model that breaks the demand twice ends in an error that says how."""
    service, _ = await served(Rule(text=BAD))
    with pytest.raises(Internal, match="does not match its schema"):
        await reply(service, LOOK, FORCED)


async def test_structured_output_is_checked() -> None:
    """The same holds for structured output."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    service, _ = await served(Rule(text='{"a": "x"}', times=1), Rule(text='{"a": 5}'))
    got = await reply(service, said("?"), GenerationParams(max_tokens=100, output_schema=schema))
    assert got.blocks == (TextBlock('{"a": 5}'),)


@pytest.mark.parametrize(
    "params",
    [
        GenerationParams(max_tokens=100),
        FORCED,
        GenerationParams(max_tokens=100, output_schema={"type": "object"}),
        GenerationParams(max_tokens=100, tool_choice=ToolChoice(mode="none")),
    ],
)
async def test_a_grammar_says_what_ends_a_reply(params: GenerationParams) -> None:
    """Every grammar allows the tokens that the model may end its turn with, where it allows an end: the engine may know
    another one only."""
    service, engine = await served(Rule(text=GOOD), kind=_Losing)
    prepared = await service.prepare("claude-test", LOOK, params)
    names = engine.script.control_tokens
    start = next(line for line in (prepared.task.job.grammar or "").splitlines() if line.startswith("start: "))
    assert start.endswith(f" (<[{names.index('<|im_end|>')}]> | <[{names.index('<|endoftext|>')}]>)?")


class _Losing(Scripted):
    """An engine that takes a grammar, and goes on without it."""

    async def describe(self) -> Description:
        return msgspec.structs.replace(await super().describe(), grammar="llguidance")


@pytest.mark.parametrize("text", [BAD, "I will not."])
async def test_a_grammar_that_the_engine_lets_go_of(text: str) -> None:
    """A reply that breaks what a grammar was to hold is an error, and no reply."""
    service, engine = await served(Rule(text=text), kind=_Losing)
    with pytest.raises(Internal, match="the engine did not enforce"):
        await reply(service, LOOK, FORCED)
    assert engine.jobs[0].grammar


async def test_parallel_calls_forbidden() -> None:
    """With parallel calls forbidden a forced reply is one call."""
    service, _ = await served(Rule(text=GOOD + "\n" + GOOD))
    wanted = GenerationParams(max_tokens=100, tool_choice=ToolChoice(mode="any", parallel=False))
    got = await reply(service, LOOK, wanted)
    assert [type(block) for block in got.blocks] == [ToolBlock]


async def test_no_tools_wanted() -> None:
    """`none` means that no call comes out, whatever the model writes."""
    service, _ = await served(Rule(text=GOOD))
    got = await reply(service, LOOK, GenerationParams(max_tokens=100, tool_choice=ToolChoice(mode="none")))
    assert got.reason == "end_turn"
    assert not any(isinstance(block, ToolBlock) for block in got.blocks)


STRICT = Tool(name="look", schema=LOOK.tools[0].schema, strict=True)


@pytest.mark.parametrize("mode", ["auto", "any", "tool", "none"])
@pytest.mark.parametrize("starts_thinking", [True, False])
@pytest.mark.parametrize("thinking", ["default", "enabled"])
def test_every_demand_compiles(mode: Any, starts_thinking: bool, thinking: Any) -> None:
    """Whatever is demanded, with thinking before it or not, gives a grammar that compiles."""
    choice = ToolChoice(mode=mode, name="look" if mode == "tool" else None)
    for schema in (None, {"type": "object", "properties": {"größe": {"type": "string"}}}):
        wanted = GenerationParams(tool_choice=choice, output_schema=schema, thinking=ThinkingPolicy(mode=thinking))
        demand = plan(
            (STRICT, tool("jump", height={"type": "number"})),
            wanted,
            msgspec.structs.replace(HERMES, starts_thinking=starts_thinking),
            dialect="llguidance",
        )
        for node in (demand.whole, demand.answer):
            assert node is not None
            for ids in (lambda marker: None, lambda marker: 7):
                assert lark.problem(lark.lower(node, ids)) == ""


def test_without_a_demand_the_model_is_free() -> None:
    """Without tools, or with none whose calls are held, the model is free."""
    loose = Tool(name="look", schema=LOOK.tools[0].schema, strict=False)
    for tools, hold in (((), "always"), ((loose,), "always"), ((tool(),), "strict"), ((STRICT,), "never")):
        assert plan(tools, GenerationParams(), HERMES, dialect="llguidance", hold=hold).whole is None


def test_recursive_schemas_compile() -> None:
    """A schema that refers to itself is no obstacle."""
    schema = json.loads(
        '{"type": "object", "properties": {"child": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "object", '
        '"properties": {"child": {"$ref": "#/$defs/n"}, "v": {"type": "integer"}}, "required": ["v"]}}}'
    )
    wanted = GenerationParams(output_schema=schema)
    demand = plan((), wanted, HERMES, dialect="llguidance")
    assert demand.whole is not None
    assert lark.problem(lark.lower(demand.whole, lambda marker: None)) == ""


async def test_one_call_in_auto_mode() -> None:
    """With parallel calls forbidden a reply that is free to call or not ends after its first call."""
    service, engine = await served(Rule(pieces=(GOOD + "\n" + GOOD, "\nmore")))
    wanted = GenerationParams(max_tokens=100, tool_choice=ToolChoice(mode="auto", parallel=False))
    got = await reply(service, LOOK, wanted)
    assert [type(block) for block in got.blocks] == [ToolBlock]
    assert got.reason == "tool_use"
    assert engine.running == 0


def test_an_answer_with_a_header() -> None:
    """Where an answer stands in a message with a header, a structured output does too, and thinking may come before."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    speech = Speech(format=format_named("gpt-oss"), reasoning=reasoning_named("gpt-oss"))
    demand = plan((), GenerationParams(output_schema=schema), speech, dialect="llguidance")
    assert demand.whole is not None
    grammar = lark.lower(demand.whole, lambda marker: None)
    assert lark.problem(grammar) == ""
    matcher = llguidance.LLMatcher(
        llguidance.LLTokenizer("byte"), llguidance.grammar_from("lark", grammar.removeprefix("%llguidance {}"))
    )
    said = '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{"a": 5}'
    assert matcher.consume_tokens(list(said.encode()))
    assert matcher.is_accepting()


async def test_calls_in_thinking_are_not_what_was_demanded() -> None:
    """A call written inside thinking, where no grammar reaches, is no answer to a forced choice; one of a free choice
    counts, because the model may have forgotten to close its thinking."""
    text = f"<think>\nSay {BAD} first.\n</think>\n\n{GOOD}"
    service, _ = await served(Rule(text=text), choices=Choices(hold_calls="never"))
    got = await reply(service, LOOK, FORCED)
    assert [type(block) for block in got.blocks] == [ThinkingBlock, ToolBlock]
    got = await reply(service, LOOK)
    assert [type(block) for block in got.blocks].count(ToolBlock) == 2


CUT = [
    ('{"a": [1, 2', True),
    ('{"a": [1, "x", 2', False),
    ('{"a": [1], "b": "lo', True),
    ('{"b": 5, "a": [', False),
    ('{"a": [1], "b": 5', True),
    ("{", True),
]


@pytest.mark.parametrize(("text", "could_match"), CUT)
async def test_a_cut_reply_is_a_beginning(text: str, could_match: bool) -> None:
    """A structured output that its limit cut is the beginning of one that could have matched: what was said to its end
    in it is checked, what was being said is not."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "integer"}}, "b": {"type": "string"}},
        "required": ["a", "b"],
    }
    pieces = tuple(text)
    service, engine = await served(Rule(pieces=(*pieces, "x" * 9)))
    wanted = GenerationParams(max_tokens=max(len(pieces), 1), output_schema=schema)
    if could_match:
        assert (await reply(service, said("?"), wanted)).reason == "max_tokens"
        assert len(engine.jobs) == 1
    else:
        with pytest.raises(Internal, match=r"at \$\.(a\[1\]|b)"):
            await reply(service, said("?"), wanted)
        assert len(engine.jobs) == MOST_ATTEMPTS


async def test_another_attempt_has_other_luck() -> None:
    """What would come out the same again is asked for otherwise: with more heat and another seed."""
    service, engine = await served(Rule(text=BAD, times=2), Rule(text=GOOD))
    wanted = msgspec.structs.replace(FORCED, sampling=Sampling(temperature=0.0, seed=7))
    got = await reply(service, LOOK, wanted)
    assert [type(block) for block in got.blocks] == [ToolBlock]
    assert [job.sampling.seed for job in engine.jobs] == [7, 8, 9]
    assert [job.sampling.temperature for job in engine.jobs] == [0.0, 0.7, 0.7]


async def test_a_call_of_ones_own_accord_is_free_without_grammars() -> None:
    """Where the engine takes no grammar, a call that nobody forced streams as the model writes it."""
    service, engine = await served(Rule(text=BAD))
    got = await reply(service, LOOK)
    assert [type(block) for block in got.blocks] == [ToolBlock]
    assert len(engine.jobs) == 1


async def test_the_same_demand_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that were sent before, as every request of a conversation does, are not made into a grammar again; other
    tools, or another choice, are."""
    record = 0
    hold = dialects.hold

    def counted(*args: Any, **options: Any) -> dialects.LoweredGrammars:
        nonlocal record
        record += 1
        return hold(*args, **options)

    monkeypatch.setattr(dialects, "hold", counted)
    cache = GrammarCache(lambda marker: None, "always")
    for _ in range(3):
        again = Conversation(tools=(msgspec.structs.replace(LOOK.tools[0]),))
        assert (await cache.held(again, GenerationParams(), HERMES, "llguidance")).whole
    assert record == 1
    await cache.held(LOOK, FORCED, HERMES, "llguidance")
    await cache.held(Conversation(tools=(STRICT,)), GenerationParams(), HERMES, "llguidance")
    assert record == 3


def test_what_does_not_compile_is_demanded_otherwise() -> None:
    """Where the grammar of a demand does not compile, the model is held to what is demanded otherwise, if anything."""
    broken, plain = (Demand(whole=node, answer=node) for node in (Pattern("(?=a)a"), Pattern("a+")))
    held = dialects.hold("llguidance", broken, lambda marker: None, otherwise=lambda: plain)
    assert held.whole == lark.lower(Pattern("a+"), lambda marker: None)
    assert dialects.hold("llguidance", broken, lambda marker: None).whole is None


@pytest.mark.parametrize("forced", [True, False])
async def test_what_cannot_fit_the_window_is_refused(forced: bool) -> None:
    """A schema whose shortest value is longer than the window is refused by its path before anything is generated."""
    service, engine = await served()
    endless = {"type": "array", "items": {"type": "integer"}, "minItems": 10**9}
    schema = {"type": "object", "properties": {"a": endless}, "required": ["a"]}
    wanted = FORCED if forced else GenerationParams(max_tokens=100, output_schema=schema)
    where = "tools.look.input_schema" if forced else "output_config.format.schema"
    with pytest.raises(BadRequest, match=f"{where}.*does not fit the window"):
        await reply(service, said("?", tools=(tool(a=endless),) if forced else ()), wanted)
    assert not engine.jobs


async def test_calls_beside_a_structured_output_are_checked() -> None:
    """Where the reply may be a call or what the schema wants, a call is one of a declared tool, and its input fits."""
    for wrong in (BAD, GOOD.replace("look", "jump")):
        service, engine = await served(Rule(text=wrong, times=1), Rule(text=GOOD))
        wanted = GenerationParams(max_tokens=100, output_schema={"type": "object"})
        got = await reply(service, LOOK, wanted)
        assert [type(block) for block in got.blocks] == [ToolBlock]
        assert len(engine.jobs) == 2


@pytest.mark.parametrize("wrong", [None, 1, True, {"type": "string"}])
@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_a_choice_that_is_no_list_is_told(keyword: str, wrong: Any) -> None:
    """A parameter whose choice is no list of schemas is free in a format that writes each by itself, and told of."""
    at = Tool(name="look", schema={"type": "object", "properties": {"at": {keyword: wrong}}})
    speech = Speech(format=format_named("qwen3_coder"), reasoning=reasoning_named("think"))
    (part,) = plan((at,), GenerationParams(), speech, dialect="llguidance").parts
    assert [(each.path, each.keyword) for each in part.unheld] == [("#/properties/at", keyword)]
