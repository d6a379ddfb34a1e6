"""Tools that take free text: declared, called and sent back in both forms that programs use here."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from antiphon.api.conversation import ToolChoice, ToolUse
from antiphon.api.events import AnyEvent, Finished, Started, ToolDelta, ToolEnd, ToolStart, Usage
from antiphon.api.reply import fold
from antiphon.surfaces.chat_completions import encode, reply
from tests.surfaces.chat_completions.chunks import chunks
from tests.surfaces.chat_completions.test_decode import USER, answer, read, turns

USAGE = Usage(prompt=9, output=5)
GRAMMAR = {"syntax": "regex", "definition": r"a+"}
NESTED = {
    "type": "custom",
    "custom": {"name": "patch", "description": "Edits.", "format": {"type": "grammar", "grammar": GRAMMAR}},
}
FLAT = {"type": "custom", "name": "patch", "description": "Edits.", "format": {"type": "grammar", **GRAMMAR}}
LOOK = {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}


def style(form: reply.Form) -> reply.Style:
    return reply.Style(id="chatcmpl-1", created=1, model="m", forms={"patch": form})


def called(*fragments: str) -> list[AnyEvent]:
    """A reply that is one call, and a call of a function after it."""
    pieces = [ToolDelta(fragment) for fragment in fragments]
    one: list[AnyEvent] = [Started(USAGE), ToolStart("toolu_1", "patch"), *pieces, ToolEnd()]
    return [*one, ToolStart("toolu_2", "look"), ToolDelta('{"a": 1}'), ToolEnd(), Finished("tool_use", USAGE)]


def streamed(events: list[AnyEvent], form: reply.Form) -> list[dict[str, Any]]:
    """The calls that the deltas add up to."""
    encoder = encode.Encoder(style(form))
    calls: list[dict[str, Any]] = []
    for chunk in chunks(b"".join(encoder.batch([event]) for event in events)):
        for call in chunk["choices"][0]["delta"].get("tool_calls", ()):
            if "id" in call:
                calls.append(call)
                continue
            (kind,) = call.keys() - {"index"}
            ((member, text),) = call[kind].items()
            calls[call["index"]][kind][member] += text
    return calls


def whole(events: list[AnyEvent], form: reply.Form) -> list[dict[str, Any]]:
    """The calls of the unstreamed reply, which the SDK takes."""
    raw = reply.whole(style(form), fold(iter(events)))
    ChatCompletion.model_validate_json(raw, strict=True)
    return list(json.loads(raw)["choices"][0]["message"]["tool_calls"])


@pytest.mark.parametrize(("tool", "form"), [(NESTED, reply.CUSTOM), (FLAT, reply.FUNCTION)])
def test_a_declared_tool_takes_text(tool: dict[str, Any], form: reply.Form) -> None:
    """In the form of this API and in that of the Responses API; the form of the declaration is that of the calls."""
    asked = read(tools=[tool])
    (found,) = asked.conversation.tools
    assert (found.name, found.description) == ("patch", "Edits.")
    assert found.schema["properties"]["input"]["pattern"] == "^(?:a+)$"
    assert asked.forms == {"patch": form}
    assert asked.ignored == ()


def test_a_function_may_be_written_flat() -> None:
    """As the Responses API has it, beside one in the form of this API."""
    asked = read(tools=[LOOK, {"type": "function", "function": {"name": "wait"}}])
    assert [(tool.name, tool.description) for tool in asked.conversation.tools] == [("look", "Looks."), ("wait", "")]
    assert asked.forms == {}


def test_tools_of_other_types_are_named() -> None:
    """Nobody could run them; the request is served without, even where it requires a call."""
    asked = read(tools=[{"type": "web_search"}, {"type": "web_search"}, {"type": "mcp", "server_label": "x"}])
    assert asked.ignored == ("tools.web_search", "tools.mcp")
    assert asked.conversation.tools == ()
    for choice in ("required", {"type": "web_search"}):
        assert read(tools=[{"type": "web_search"}], tool_choice=choice).generation.tool_choice == ToolChoice()


def test_a_grammar_that_no_expression_says_is_named() -> None:
    """The text is free then."""
    recursive = {"type": "grammar", "syntax": "lark", "definition": 'start: "(" start ")" | "x"'}
    asked = read(tools=[{**FLAT, "format": recursive}])
    assert "pattern" not in asked.conversation.tools[0].schema["properties"]["input"]
    assert asked.ignored == ("tools.0.format",)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "custom", "custom": {"name": "patch"}}, None),
        ({"type": "custom", "name": "patch"}, None),
        ({"type": "function", "name": "patch"}, None),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"type": "custom", "custom": {"name": "patch"}}]},
            },
            ["patch"],
        ),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "patch"}]}, ["patch"]),
    ],
)
def test_every_way_to_choose_it(choice: dict[str, Any], names: list[str] | None) -> None:
    """By its name in either form, alone or as the part of the tools that is allowed."""
    asked = read(tools=[FLAT, LOOK], tool_choice=choice)
    found = asked.generation.tool_choice
    assert (found.mode, found.name) == (("tool", "patch") if names is None else ("any", None))
    assert [tool.name for tool in asked.conversation.tools] == (names or ["patch", "look"])


@given(st.text(), st.lists(st.integers(0, 400), max_size=8), st.sampled_from([reply.CUSTOM, reply.FUNCTION]))
def test_the_text_comes_as_it_is_written(text: str, cuts: list[int], form: reply.Form) -> None:
    """However the JSON around it is cut and spaced, streamed and whole; what is called next has its own arguments."""
    written = f' {{ "input" :{json.dumps(text)} }}'
    places = [0, *sorted(min(cut, len(written)) for cut in cuts), len(written)]
    events = called(*(written[a:b] for a, b in pairwise(places)))
    for calls in (streamed(events, form), whole(events, form)):
        first, second = calls
        assert (first["type"], first[form.type]) == (form.type, {"name": "patch", form.member: text})
        assert (second["type"], second["function"]) == ("function", {"name": "look", "arguments": '{"a": 1}'})


@pytest.mark.parametrize("written", ['{"other": 1}', '{"input": 1}', "{}"])
def test_what_is_no_free_text(written: str) -> None:
    """Where a model did not give the one text, its JSON stands for it."""
    for calls in (streamed(called(written), reply.CUSTOM), whole(called(written), reply.CUSTOM)):
        assert calls[0]["custom"]["input"] == written


@pytest.mark.parametrize(
    ("tool", "call"),
    [
        (NESTED, {"type": "custom", "custom": {"name": "patch", "input": "a\n"}}),
        (FLAT, {"type": "function", "function": {"name": "patch", "arguments": "a\n"}}),
        (FLAT, {"type": "function", "function": {"name": "patch", "arguments": {"input": "a\n"}}}),
    ],
)
def test_a_call_sent_back_is_the_one_that_was_made(tool: dict[str, Any], call: dict[str, Any]) -> None:
    """The prompt has the object that the model wrote, whichever form the client keeps."""
    calling = {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", **call}]}
    (part,) = turns(USER, calling, answer(), tools=[tool]).turns[1].parts
    assert isinstance(part, ToolUse)
    assert (part.name, json.loads(part.input)) == ("patch", {"input": "a\n"})
