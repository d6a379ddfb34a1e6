"""Tool calls."""

from __future__ import annotations

import json
import re
from typing import Any

from antiphon_check.basic.messages import text
from antiphon_check.registry import API, GUIDE, SDK, check
from antiphon_check.schemas import mismatch
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

_TOOLS = "https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview"
_ID = re.compile(r"[a-zA-Z0-9_-]+")

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Graz", "Oslo"]}, "days": {"type": "integer"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
STRICT = {**WEATHER, "strict": True}
"""The same, held to its schema: without that a small model may give a string where an object should be."""
TIME = {
    "name": "get_time",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}, "additionalProperties": False},
}
PLAN = {
    "name": "plan",
    "description": "A plan of steps.",
    "input_schema": {
        "type": "object",
        "properties": {
            "steps": {"type": "array", "items": {"$ref": "#/$defs/step"}},
            "urgent": {"type": "boolean"},
            "owner": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["steps", "urgent", "owner"],
        "additionalProperties": False,
        "$defs": {
            "step": {
                "type": "object",
                "properties": {"kind": {"type": "string", "enum": ["edit", "test"]}, "count": {"type": "integer"}},
                "required": ["kind", "count"],
                "additionalProperties": False,
            }
        },
    },
}
ASKED = [{"role": "user", "content": "What is the weather in Graz?"}]


def calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of a message."""
    return [block for block in message["content"] if block.get("type") == "tool_use"]


def forced(server: Server, *tools: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A reply to a request that forces the first of these tools."""
    choice = {"type": "tool", "name": tools[0]["name"]}
    body = {"max_tokens": 400, "messages": ASKED, "tools": list(tools), "tool_choice": choice}
    return server.message(**{**body, **fields})


def _one(message: dict[str, Any]) -> dict[str, Any]:
    found_calls = calls(message)
    # Words in place of a call are none, wherever they were cut.
    if message.get("stop_reason") == "max_tokens" and (found_calls or not text(message).strip()):
        raise Unjudged("the model did not end its call within max_tokens")
    expect(found_calls, "there is no tool call, though one was forced")
    return found_calls[0]


@check(
    "agent.tool_forced",
    "`tool_choice: tool` makes the reply a call of that tool, and ends it with `tool_use`.",
    reason="Programs that force a call read `content` for it without looking further.",
    source=_TOOLS,
)
def tool_forced(server: Server) -> None:
    reply = forced(server, WEATHER, TIME)
    call = _one(reply)
    expect(call.get("name") == "get_weather", f"it calls {call.get('name')!r}")
    expect(reply.get("stop_reason") == "tool_use", f"`stop_reason` is {reply.get('stop_reason')!r}")


@check(
    "agent.tool_any",
    "`tool_choice: any` makes the reply a call of a declared tool.",
    reason="Agents use it where the next step must be an action.",
    source=_TOOLS,
)
def tool_any(server: Server) -> None:
    call = _one(forced(server, STRICT, {**TIME, "strict": True}, tool_choice={"type": "any"}))
    expect(call.get("name") in ("get_weather", "get_time"), f"it calls {call.get('name')!r}")


@check(
    "agent.tool_fields",
    "A call has an id that may be sent back, and an object as its input.",
    reason="The id must match `^[a-zA-Z0-9_-]+$` when it comes back in a result.",
    source=SDK + "types/tool_use_block.py",
)
def tool_fields(server: Server) -> None:
    call = _one(forced(server, STRICT))
    expect(isinstance(call.get("id"), str) and _ID.fullmatch(call["id"]), f"`id` is {call.get('id')!r}")
    expect(isinstance(call.get("input"), dict), f"`input` is {call.get('input')!r}")


@check(
    "agent.tool_ids",
    "Two calls have different ids.",
    reason="Results are matched to calls by id, over a whole conversation.",
    source=SDK + "types/tool_use_block.py",
)
def tool_ids(server: Server) -> None:
    first, second = (_one(forced(server, STRICT)).get("id") for _ in range(2))
    expect(first != second, f"both ids are {first!r}")


@check(
    "agent.tool_input",
    "The input of a forced call matches the schema of a strict tool.",
    reason="Agents answer a call that does not with an error, and small models then repeat it.",
    source=GUIDE + "structured-outputs",
)
def tool_input(server: Server) -> None:
    call = _one(forced(server, STRICT))
    wrong = mismatch(call.get("input"), WEATHER["input_schema"])  # type: ignore[arg-type]
    expect(not wrong, wrong)


@check(
    "agent.tool_nested",
    "So does that of a schema with references, lists, alternatives and closed objects.",
    reason="Schemas made from classes look like this.",
    source=GUIDE + "structured-outputs",
)
def tool_nested(server: Server) -> None:
    asked = [{"role": "user", "content": "Make a plan of one step: an edit."}]
    call = _one(forced(server, {**PLAN, "strict": True}, messages=asked))
    wrong = mismatch(call.get("input"), PLAN["input_schema"])  # type: ignore[arg-type]
    expect(not wrong, wrong)


@check(
    "agent.tool_stream",
    "A streamed call begins with an empty input, and its pieces join to the JSON of the input.",
    reason="The SDKs join `partial_json`, and parse it when the block ends.",
    source=GUIDE + "streaming",
)
def tool_stream(server: Server) -> None:
    choice = {"type": "tool", "name": "get_weather"}
    stream = server.stream(max_tokens=400, messages=ASKED, tools=[STRICT], tool_choice=choice)
    starts = [event.value()["content_block"] for event in stream.events if event.type == "content_block_start"]
    begun = [block for block in starts if block.get("type") == "tool_use"]
    call = _one(stream.message)
    expect(begun[0].get("input") == {}, f"`content_block_start` has the input {begun[0].get('input')!r}")
    expect(isinstance(call["input"], dict), f"the pieces do not join to an object: {call['input']!r}")
    reason = stream.message.get("stop_reason")
    expect(reason == "tool_use", f"`stop_reason` is {reason!r}")


@check(
    "agent.tool_none",
    "With `tool_choice: none` the model calls nothing.",
    reason="Assistants keep their tools in a request that must end in words, so that the cache holds.",
    source=_TOOLS,
)
def tool_none(server: Server) -> None:
    reply = server.message(messages=ASKED, tools=[WEATHER], tool_choice={"type": "none"})
    expect(not calls(reply), "the reply has a call")
    expect(reply.get("stop_reason") != "tool_use", "`stop_reason` is 'tool_use'")


@check(
    "agent.tool_auto",
    "With tools and no choice the reply is text, a call, or both, each well-formed.",
    reason="It is what agents send nearly always.",
    source=_TOOLS,
)
def tool_auto(server: Server) -> None:
    reply = server.message(max_tokens=120, messages=ASKED, tools=[WEATHER, TIME])
    found_calls = calls(reply)
    for call in found_calls:
        expect(call.get("name") in ("get_weather", "get_time"), f"it calls {call.get('name')!r}")
        expect(isinstance(call.get("input"), dict), f"`input` is {call.get('input')!r}")
    ended = reply.get("stop_reason")
    expect(bool(found_calls) or ended != "tool_use", "`stop_reason` is 'tool_use' without a call")
    expect(not found_calls or ended in ("tool_use", "max_tokens"), f"`stop_reason` is {ended!r} with a call")


@check(
    "agent.tool_single",
    "`disable_parallel_tool_use` keeps a reply to one call.",
    reason="Agents that take one step at a time drop the others.",
    source=_TOOLS,
)
def tool_single(server: Server) -> None:
    choice = {"type": "any", "disable_parallel_tool_use": True}
    asked = [{"role": "user", "content": "The weather in Graz and in Oslo, please."}]
    found = calls(forced(server, STRICT, messages=asked, tool_choice=choice))
    expect(len(found) <= 1, f"there are {len(found)} calls")


@check(
    "agent.tool_extras",
    "Fields that newer programs add to tools are accepted: `cache_control`, `strict`, `eager_input_streaming` …",
    reason="A server that refuses them refuses every request of such a program.",
    source=SDK + "types/tool_param.py",
)
def tool_extras(server: Server) -> None:
    extras = {
        "cache_control": {"type": "ephemeral"},
        "eager_input_streaming": True,
        "input_examples": [{"city": "Graz"}],
    }
    server.message(messages=ASKED, tools=[{**WEATHER, **extras}, {**PLAN, "strict": True}])


@check(
    "agent.tool_known",
    "The tools that the API itself defines for clients are accepted by their types.",
    reason="Assistants declare `bash`, the text editor and `memory` without a schema.",
    source=SDK + "types/tool_union_param.py",
)
def tool_known(server: Server) -> None:
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "memory_20250818", "name": "memory"},
    ]
    server.message(tools=tools)
    call = _one(forced(server, tools[0]))
    known = {"command", "restart"}
    expect(known & call["input"].keys(), f"the input of `bash` is {json.dumps(call['input'])}")


def _refused(server: Server, **fields: Any) -> None:
    server.refused(server.request("POST", "/v1/messages", server.plain(messages=ASKED, **fields)), 400)


@check(
    "agent.tool_twice", "Two tools of one name are a 400.", reason="A call could mean either.", source=API + "messages"
)
def tool_twice(server: Server) -> None:
    _refused(server, tools=[WEATHER, WEATHER])


@check(
    "agent.tool_schema",
    "A tool whose schema is not one of an object is a 400.",
    reason="Reported early, it is a bug found; reported late, it is a call that never comes.",
    source=API + "messages",
)
def tool_schema(server: Server) -> None:
    _refused(server, tools=[{"name": "f", "input_schema": {"type": "string"}}])
    _refused(server, tools=[{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "wizard"}}}}])


@check(
    "agent.tool_unknown",
    "Forcing a tool that is not declared is a 400.",
    reason="Otherwise the program waits for a call that nobody can make.",
    source=API + "messages",
)
def tool_unknown(server: Server) -> None:
    _refused(server, tools=[WEATHER], tool_choice={"type": "tool", "name": "get_tides"})
