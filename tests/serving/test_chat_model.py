"""Models behind a chat server: whatever it sends, in whatever order, the reply keeps the laws."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from antiphon.api.conversation import (
    GenerationParams,
    Text,
    ThinkingPolicy,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
    Turn,
)
from antiphon.api.errors import BadRequest, EngineFailed, Failure, Internal, Overloaded, PromptTooLong
from antiphon.api.events import AnyEvent, Finished, ToolDelta, ToolEnd, ToolStart, Usage
from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, ToolBlock, fold
from antiphon.constraint.check import MOST_ATTEMPTS
from antiphon.engines import Reach, connect
from antiphon.engines.chat import ChatServer
from antiphon.parsing.deltas import Deltas
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.parsing.parser import Parser
from antiphon.serving import chat_model
from antiphon.serving.model import Choices, call_id
from antiphon.serving.service import Service
from tests.engines.far import Far, call, delta, used
from tests.serving.served import reply, said, tool

LOOK = tool("look", at={"type": "string"})
WEIGH = tool("weigh", grams={"type": "integer"})


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    """A chat server that says what the test tells it to."""
    server = Far()
    await server.start()
    yield server
    await server.stop()


async def before(far: Far, **choices: str) -> Service:
    engine = connect(f"openai+{far.url}", Reach(key="secret", patience=0.1))
    assert isinstance(engine, ChatServer)
    return Service([await chat_model.load(engine, Choices(**choices))])


async def answered(far: Far, *told: Any, tools: tuple[Tool, ...] = (), **wanted: Any) -> Reply:
    """The reply to a question, when the server sends this."""
    far.replies = [told]
    service = await before(far)
    try:
        return await reply(service, said("Hi", tools=tools), GenerationParams(max_tokens=100, **wanted))
    finally:
        await service.close()


def calls(answer: Reply) -> list[tuple[str, Any]]:
    return [(block.name, json.loads(block.input)) for block in answer.blocks if isinstance(block, ToolBlock)]


async def test_text_thinking_and_figures(far: Far) -> None:
    """Either name of thinking; the server's own figures; the key goes with the request."""
    for name in ("reasoning_content", "reasoning"):
        answer = await answered(
            far,
            delta(role="assistant", content=""),
            delta(**{name: "Hm, "}),
            delta(**{name: "well."}),
            delta(content="\n\nHel"),
            delta(content="lo."),
            delta("stop"),
            used(30, 9, cached=12),
            "[DONE]",
        )
        assert answer.blocks == (ThinkingBlock("Hm, well."), TextBlock("Hello."))
        assert (answer.reason, answer.usage.prompt, answer.usage.cached, answer.usage.output) == ("end_turn", 30, 12, 9)
        assert far.headers[-1]["authorization"] == "Bearer secret"


async def test_content_that_is_a_list(far: Far) -> None:
    """Of texts and of thinking, itself a list of texts or one text; parts of other kinds are nothing."""
    thinking = [{"type": "text", "text": "Hm, "}, {"type": "reference", "reference_ids": [1]}]
    answer = await answered(
        far,
        delta(content=[{"type": "thinking", "thinking": thinking}]),
        delta(content=[{"type": "thinking", "thinking": "well."}, {"type": "text", "text": "Hel"}]),
        delta(content=[{"type": "text", "text": "lo"}, {"type": "reference", "reference_ids": [1]}]),
        delta(content="."),
        delta("stop"),
    )
    assert answer.blocks == (ThinkingBlock("Hm, well."), TextBlock("Hello."))


async def test_a_server_that_tells_no_figures(far: Far) -> None:
    """Events are counted for tokens, and a missing end mark loses nothing."""
    answer = await answered(far, delta(content="one "), delta(content="two"), delta("length"))
    assert (answer.reason, answer.usage.output) == ("max_tokens", 2)
    assert answer.usage.prompt > 0


PARTS = {
    "in pieces": (call(0, "look", '{"at": '), call(0, None, '"sea"}'), call(1, "weigh", '{"grams": 3}')),
    "interleaved": (
        call(0, "look", "", "a"),
        call(1, "weigh", "", "b"),
        call(1, None, '{"grams"'),
        call(0, None, '{"at": "s'),
        call(1, None, ": 3}"),
        call(0, None, 'ea"}'),
    ),
    "one index for all": (call(0, "look", '{"at": "sea"}', "a"), call(0, "weigh", '{"grams": 3}', "b")),
    "one id for all": (call(0, "look", '{"at": "sea"}', "a"), call(1, "weigh", '{"grams": 3}', "a")),
    "no index, no id": (call(None, "look", '{"at": "sea"}'), call(None, "weigh", '{"grams"'), call(None, None, ": 3}")),
    "objects": (call(0, "look", {"at": "sea"}), call(1, "weigh", {"grams": 3})),
    "an object in a string": (call(0, "look", '"{\\"at\\": \\"sea\\"}"'), call(1, "weigh", '{"grams": 3}')),
}


@pytest.mark.parametrize("name", PARTS)
async def test_calls_however_they_are_told(far: Far, name: str) -> None:
    """Both calls, each once, with their inputs and ids of our own, and the turn ends for them."""
    answer = await answered(
        far,
        delta(content="Let me see.\n"),
        *(delta(tool_calls=[part]) for part in PARTS[name]),
        delta("tool_calls"),
        tools=(LOOK, WEIGH),
    )
    assert calls(answer) == [("look", {"at": "sea"}), ("weigh", {"grams": 3})]
    assert answer.blocks[0] == TextBlock("Let me see.")
    assert answer.reason == "tool_use"
    ids = [block.id for block in answer.blocks if isinstance(block, ToolBlock)]
    assert len(set(ids)) == 2
    assert all(id.startswith("toolu_") for id in ids)


@pytest.mark.parametrize("arguments", ["", "{}", "null", None])
async def test_a_call_without_arguments(far: Far, arguments: str | None) -> None:
    """Its input is an empty object."""
    answer = await answered(far, delta(tool_calls=[call(0, "look", arguments)]), delta("tool_calls"), tools=(LOOK,))
    assert (calls(answer), answer.reason) == ([("look", {})], "tool_use")


async def test_a_call_that_the_limit_cuts(far: Far) -> None:
    """The input is legal, the call counts as cut, and the reply does not ask for it."""
    answer = await answered(far, delta(tool_calls=[call(0, "look", '{"at": "the se')]), delta("length"), tools=(LOOK,))
    assert answer.reason == "max_tokens"
    assert calls(answer) == [("look", {"at": "the se"})]


async def test_stop_sequences_are_found_here(far: Far) -> None:
    """Also when split; the server is not asked to stop, because it would not say for which."""
    told = (delta(content="one tw"), delta(content="o END"), delta(content="ING three"), delta("stop"))
    answer = await answered(far, *told, stop_sequences=("END",))
    assert answer.blocks == (TextBlock("one two "),)
    assert (answer.reason, answer.stop_sequence) == ("stop_sequence", "END")
    assert "stop" not in far.asked[-1]


@pytest.mark.parametrize(
    ("told", "reason", "explanation"),
    [
        ((delta(refusal="I can"), delta(refusal="not."), delta("stop")), "refusal", "I cannot."),
        ((delta(content="So"), delta("content_filter")), "refusal", None),
        ((delta(refusal="I can"), delta("length")), "max_tokens", None),
        ((delta(tool_calls=[call(0, "look", '{"at": "sea"}')]), delta("content_filter")), "tool_use", None),
    ],
)
async def test_a_refusal_is_told_as_one(far: Far, told: Any, reason: str, explanation: str | None) -> None:
    """Also where the reply had to match a schema; what the limit cut is cut, and whole calls are calls."""
    answer = await answered(far, *told, tools=(LOOK,), output_schema={"type": "object"})
    assert (answer.reason, answer.explanation) == (reason, explanation)


async def test_what_the_server_leaves_in_the_text(far: Far) -> None:
    """With named parsers, thinking and calls are found in it."""
    text = '<think>Hm.</think>\n\nYes.<tool_call>\n{"name": "look", "arguments": {"at": "sea"}}\n</tool_call>'
    far.replies = [[*(delta(content=character) for character in text), delta("stop")]]
    service = await before(far, tool_call_parser="hermes", reasoning_parser="qwen3")
    answer = await reply(service, said("Hi", tools=(LOOK,)))
    assert [type(block) for block in answer.blocks] == [ThinkingBlock, TextBlock, ToolBlock]
    assert (calls(answer), answer.reason) == ([("look", {"at": "sea"})], "tool_use")
    await service.close()


async def test_the_request_says_everything(far: Far) -> None:
    """History with calls, results and thinking, the choice of a tool, sampling and the limit."""
    far.replies = [[delta(tool_calls=[call(0, "look", '{"at": "sea"}')]), delta("tool_calls")]]
    service = await before(far)
    conversation = said("Look", system="Be kind.", tools=(LOOK,))
    use = ToolUse(id="toolu_1", name="look", input='{"at":  "ü"}')
    gone = ToolResult(tool_use_id="toolu_1", parts=(Text("gone"),), is_error=True)
    turns = (
        *conversation.turns,
        Turn(role="assistant", parts=(Text("I do."), use)),
        Turn(role="user", parts=(gone, Text("Again"))),
    )
    wanted = GenerationParams(
        max_tokens=9999,
        tool_choice=ToolChoice(mode="tool", name="look", parallel=False),
        thinking=ThinkingPolicy(mode="enabled", effort="max"),
    )
    await reply(service, type(conversation)(system=conversation.system, turns=turns, tools=conversation.tools), wanted)
    asked = far.asked[-1]
    assert asked["model"] == "org/far"
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert asked["parallel_tool_calls"] is False
    assert asked["reasoning_effort"] == "high"
    assert asked["max_tokens"] < 4096
    assert [message["role"] for message in asked["messages"]] == ["system", "user", "assistant", "tool", "user"]
    assert asked["messages"][2]["tool_calls"][0]["function"]["arguments"] == '{"at":  "ü"}'
    assert asked["messages"][3]["content"] == "Error: gone"
    await service.close()


async def test_what_was_demanded_is_checked_and_asked_for_again(far: Far) -> None:
    """A server that does not force a call has further attempts; then the client is told, and no reply is made up."""
    free = [delta(content="I would rather not."), delta("stop")]
    kept = [delta(tool_calls=[call(0, "weigh", '{"grams": 3}')]), delta("tool_calls")]
    wrong = [delta(tool_calls=[call(0, "weigh", '{"grams": "three"}')]), delta("tool_calls")]
    wanted = GenerationParams(max_tokens=50, tool_choice=ToolChoice(mode="any"))
    service = await before(far)
    for replies, fails in (
        ([free, kept], False),
        ([wrong, kept], False),
        ([free, *[wrong] * (MOST_ATTEMPTS - 1)], True),
    ):
        far.replies = [list(each) for each in replies]
        far.asked.clear()
        if fails:
            with pytest.raises(Internal, match="does not meet the constraints"):
                await reply(service, said("Hi", tools=(WEIGH,)), wanted)
        else:
            assert calls(await reply(service, said("Hi", tools=(WEIGH,)), wanted)) == [("weigh", {"grams": 3})]
        assert len(far.asked) == (MOST_ATTEMPTS if fails else 2)
    await service.close()


async def test_tools_of_a_forced_call_are_strict(far: Far) -> None:
    """So that servers hold the input to its schema; one that refuses strict tools is asked for the same without."""
    called = [delta(tool_calls=[call(0, "weigh", '{"grams": 3}')]), delta("tool_calls")]
    service = await before(far)
    for mode, replies, told in (
        ("any", [called], [True]),
        ("any", [refusal(400, "additionalProperties must be false"), called], [True, None]),
        ("auto", [called], [None]),
    ):
        far.replies, far.asked = list(replies), []
        wanted = GenerationParams(max_tokens=50, tool_choice=ToolChoice(mode=mode))
        assert calls(await reply(service, said("Hi", tools=(WEIGH,)), wanted)) == [("weigh", {"grams": 3})]
        assert [body["tools"][0]["function"].get("strict") for body in far.asked] == told
    await service.close()


LONG = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens"


def refusal(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=json.dumps({"error": {"message": message}}))


FAILURES: dict[str, tuple[Any, type[Failure], str]] = {
    "too long": (refusal(400, LONG), PromptTooLong, "prompt is too long: 5000 tokens > 4096 maximum"),
    "refused": (refusal(400, "no such tool"), BadRequest, "no such tool"),
    "busy": (refusal(429, "slow down"), Overloaded, "slow down"),
    "locked": (refusal(401, "bad key"), EngineFailed, "bad key"),
    "broken": (web.Response(status=500, text="oh"), EngineFailed, "oh"),
    "breaks off": ([delta(content="one ")], EngineFailed, "broke off"),
    "says so": ([delta(content="one "), {"error": {"message": "out of memory"}}], EngineFailed, "out of memory"),
    "says that it is busy": ([delta(content="one "), {"error": {"message": "slow", "code": 429}}], Overloaded, "slow"),
    "says that it is full": (refusal(529, "come back"), Overloaded, "come back"),
    "says what is wrong": ([{"error": {"message": "no such tool", "code": 400}}], BadRequest, "no such tool"),
    "says that it is too long": ([{"error": {"message": LONG, "code": 400}}], PromptTooLong, "5000 tokens > 4096"),
    "sends nonsense": ([delta(content="one "), '{"choices": ['], EngineFailed, "something else than JSON"),
    "aborts": ([delta(content="one "), delta("abort")], EngineFailed, "abort"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failures_are_told_as_what_they_are(far: Far, name: str) -> None:
    """Before the first event and after it, each in the kind that clients know what to do about."""
    answer, kind, words = FAILURES[name]
    far.replies = [answer]
    service = await before(far)
    with pytest.raises(kind, match=words):
        await reply(service, said("Hi"))
    await service.close()


async def test_a_reply_that_began_is_not_asked_for_again(far: Far) -> None:
    """A forced call is asked for once more, without strict tools, only where the server did not take them."""
    far.replies = [[delta(content="one "), 0.2, {"error": {"message": "cannot", "code": 400}}]]
    service = await before(far)
    with pytest.raises(BadRequest, match="cannot"):
        await reply(service, said("Hi", tools=(LOOK,)), GenerationParams(tool_choice=ToolChoice(mode="any")))
    assert len(far.asked) == 1
    await service.close()


async def test_a_prompt_that_is_made_elsewhere_cannot_be_shown(far: Far) -> None:
    """The client is told so."""
    service = await before(far)
    with pytest.raises(BadRequest, match="behind a chat server"):
        await service.inspect("claude", said("Hi"), GenerationParams())
    await service.close()


PIECES = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.text(max_size=6)),
        st.tuples(st.just("thinking"), st.text(max_size=6)),
        st.tuples(
            st.just("call"),
            st.none() | st.integers(0, 2),
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["", "look", "weigh"]),
            st.sampled_from(["", "{", '"at": ', '"sea"', "}", '{"at": "sea"}', "[1]", "nonsense", '"{}"', ","]),
        ),
    ),
    max_size=14,
)


@given(PIECES)
def test_any_order_of_pieces_is_a_legal_reply(pieces: list[Any]) -> None:
    """Order and byte law: calls are whole blocks one after the other, and each input is one JSON object."""
    deltas = Deltas(Parser(format_named("plain"), reasoning_named("none"), {}, new_id=call_id), {}, call_id)
    told: list[AnyEvent] = []
    for kind, *piece in pieces:
        if kind == "call":
            deltas.call(*piece)
        else:
            deltas.words(piece[0], thinking=kind == "thinking")
        told += deltas.take()
    told += deltas.finish()
    inside, written = False, ""
    for event in told:
        match event:
            case ToolStart():
                assert not inside
                inside, written = True, ""
            case ToolDelta(json=fragment):
                assert inside
                written += fragment
            case ToolEnd():
                assert inside
                inside = False
                assert isinstance(json.loads(written or "{}"), dict)
            case _:
                assert not inside
    assert not inside
    fold([*told, Finished("end_turn", Usage(prompt=1))])
