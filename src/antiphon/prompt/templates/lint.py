"""Tries a chat template on every shape of conversation that clients send: when a model is loaded, not in a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from antiphon.api.conversation import (
    Conversation,
    Part,
    Text,
    Thinking,
    ThinkingPolicy,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
)
from antiphon.api.errors import BadRequest
from antiphon.prompt.templates.render import Renderer
from antiphon.prompt.tokens import Tokenise

Spell = Callable[[Sequence[int]], Awaitable[list[bytes]]]
"""The bytes of each of these tokens."""

_TOOL = Tool(
    name="probe_tool",
    description="A probe.",
    schema={"type": "object", "properties": {"value": {"type": "string", "description": "v"}}, "required": ["value"]},
)
_AROUND = 12
"""Tokens that are told before and behind."""
_EMPTY = Tool(name="empty_tool", schema={"type": "object", "properties": {}})


def _user(*parts: Part) -> Turn:
    return Turn(role="user", parts=parts)


def _assistant(*parts: Part) -> Turn:
    return Turn(role="assistant", parts=parts)


def _call(number: int) -> ToolUse:
    return ToolUse(id=f"toolu_{number:09}", name="probe_tool", input='{"value": "v"}')


def _result(number: int, *parts: Text, is_error: bool = False) -> ToolResult:
    return ToolResult(tool_use_id=f"toolu_{number:09}", parts=parts, is_error=is_error)


def shapes() -> Iterator[tuple[str, Conversation]]:
    """Every shape with a few words that name it."""
    ask, say = _user(Text("ask")), _assistant(Text("say"))
    looped = (ask, _assistant(Text("say"), _call(1)), _user(_result(1, Text("answer"))))
    yield "a user turn", Conversation(turns=(ask,))
    yield "a system prompt", Conversation(system="system", turns=(ask,))
    yield "several turns", Conversation(system="system", turns=(ask, say, ask, say, ask))
    yield "an empty assistant turn", Conversation(turns=(ask, _assistant(Text("")), ask))
    yield "tools", Conversation(system="system", turns=(ask,), tools=(_TOOL, _EMPTY))
    yield "a tool call and its result", Conversation(turns=looped, tools=(_TOOL,))
    yield "a tool call without a word", Conversation(turns=(ask, _assistant(_call(1)), looped[2]), tools=(_TOOL,))
    yield (
        "thinking before a tool call",
        Conversation(turns=(ask, _assistant(Thinking("thought"), _call(1)), looped[2], say, ask), tools=(_TOOL,)),
    )
    yield (
        "parallel calls, an error, an empty result and text beside results",
        Conversation(
            system="system",
            turns=(
                ask,
                _assistant(Text("say"), _call(1), _call(2), _call(3)),
                _user(
                    _result(1, Text("answer")), _result(2, Text("failure"), is_error=True), _result(3), Text("and more")
                ),
                say,
                ask,
            ),
            tools=(_TOOL, _EMPTY),
        ),
    )
    yield (
        "two rounds of calls",
        Conversation(turns=(*looped, _assistant(_call(2)), _user(_result(2, Text("answer")))), tools=(_TOOL,)),
    )


def _growing() -> Iterator[tuple[str, Conversation, Conversation]]:
    """Pairs of conversations of which the second goes on from the first."""
    ask, say, think = _user(Text("ask")), _assistant(Text("say")), Thinking("thought")
    called = _assistant(think, _call(1)), _user(_result(1, Text("answer")))
    for name, first, more in (
        ("text", (ask,), (say, ask)),
        ("more text", (ask, say, ask), (say, ask)),
        ("a tool call", (ask,), (_assistant(_call(1)), called[1])),
        ("a question after a tool call", (ask, _assistant(_call(1)), called[1]), (say, ask)),
        ("a tool call after thinking", (ask, *called), (_assistant(think, _call(2)), _user(_result(2, Text("two"))))),
        ("a question after thinking", (ask, *called), (_assistant(think, Text("say")), ask)),
    ):
        tools = (_TOOL,) if "tool" in name else ()
        before, after = (Conversation(system="system", turns=turns, tools=tools) for turns in (first, (*first, *more)))
        yield name, before, after


class Parting(NamedTuple):
    """A prompt that is no prefix of the one it grows into: with what kind of growth, how thinking was asked for, and
    the two prompts."""

    shape: str
    thinking: str
    before: str
    after: str


def parting(renderer: Renderer) -> Parting | None:
    """The first prompt found that is no prefix of the one it grows into; None where all are."""
    for name, before, after in _growing():
        for mode in ("default", "enabled", "disabled"):
            try:
                one, other = (renderer.prompt(each, ThinkingPolicy(mode=mode)) for each in (before, after))
            except BadRequest:
                continue
            if not other.startswith(one):
                return Parting(name, mode, one, other)
    return None


async def describe(parting: Parting, tokenise: Tokenise, spell: Spell) -> str:
    """The first token in which two prompts part, with those around it."""
    one, other = [await tokenise([text]) for text in (parting.before, parting.after)]
    index = next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    around = slice(max(index - _AROUND, 0), index + _AROUND)
    was, becomes = [b"".join(await spell(ids[around])).decode("utf-8", "replace") for ids in (one, other)]
    return f"with {parting.shape} (thinking {parting.thinking}), at token {index}, {was!r} becomes {becomes!r}"


def problems(renderer: Renderer) -> list[str]:
    """What the template cannot render, a sentence each; empty when there is nothing it cannot."""
    failures = []
    for name, conversation in shapes():
        for mode in ("default", "enabled", "disabled"):
            try:
                renderer.prompt(conversation, ThinkingPolicy(mode=mode))
            except BadRequest as error:
                failures.append(f"{name} (thinking {mode}): {error.message}")
                break
    return failures
