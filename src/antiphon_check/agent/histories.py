"""Histories, as agents send them back."""

from __future__ import annotations

from typing import Any

from antiphon_check.agent.tools import STRICT, TIME, WEATHER, calls, forced
from antiphon_check.basic.messages import prompt_tokens
from antiphon_check.registry import API, GUIDE, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

_USE = "https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/implement-tool-use"
USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Graz"}}
OTHER = {"type": "tool_use", "id": "toolu_2", "name": "get_time", "input": {}}


def history(*results: Any, uses: tuple[Any, ...] = (USE,)) -> list[dict[str, Any]]:
    """A question, these calls, and their results."""
    return [
        {"role": "user", "content": "What is the weather in Graz?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, *uses]},
        {"role": "user", "content": list(results)},
    ]


def result(content: Any = "Sunny.", **fields: Any) -> dict[str, Any]:
    """The result of the call of `history`."""
    found = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, **fields}
    return {key: value for key, value in found.items() if value is not None}


@check(
    "agent.result_forms",
    "A tool's result may be a string, blocks, nothing at all, or an error.",
    reason="Agents send all of these; a command without output gives nothing.",
    source=SDK + "types/tool_result_block_param.py",
)
def result_forms(server: Server) -> None:
    forms = (
        result(),
        result([{"type": "text", "text": "Sunny."}]),
        result(""),
        result([]),
        result(None),
        result("No such city.", is_error=True),
    )
    for form in forms:
        server.message(messages=history(form), tools=[WEATHER])


@check(
    "agent.result_text",
    "The model sees a result: a longer one makes a longer prompt.",
    reason="A server that drops results lets an agent go round in circles.",
    source=_USE,
)
def result_text(server: Server) -> None:
    short, long = (
        prompt_tokens(server.message(messages=history(result(text)), tools=[WEATHER]).get("usage") or {})
        for text in ("Sunny.", "Sunny. " * 50)
    )
    expect(long > short + 40, f"the prompt has {short} tokens with a short result, {long} with a long one")


@check(
    "agent.result_parallel",
    "The results of parallel calls come in one turn, in any order, with words behind them.",
    reason="It is how agents answer parallel calls.",
    source=_USE,
)
def result_parallel(server: Server) -> None:
    results = (result(tool_use_id="toolu_2", content="Noon."), result(), {"type": "text", "text": "Well?"})
    server.message(messages=history(*results, uses=(USE, OTHER)), tools=[WEATHER, TIME])


@check(
    "agent.result_own",
    "A call that the server made itself comes back with its result, and the conversation goes on.",
    reason="Every agent does this at every step.",
    source=_USE,
)
def result_own(server: Server) -> None:
    reply = forced(server, STRICT)
    if not calls(reply):
        raise Unjudged("the model made no call")
    results = [
        {"type": "tool_result", "tool_use_id": call["id"], "content": "Sunny, 21 degrees."} for call in calls(reply)
    ]
    messages = [
        {"role": "user", "content": "What is the weather in Graz?"},
        {"role": "assistant", "content": reply["content"]},
        {"role": "user", "content": results},
    ]
    server.message(messages=messages, tools=[STRICT])


@check(
    "agent.result_missing",
    "A call without a result in the next turn is a 400 that names it.",
    reason="Agents repair their history by this error.",
    source=API + "messages",
)
def result_missing(server: Server) -> None:
    messages = history({"type": "text", "text": "Never mind."})
    exchange = server.request("POST", "/v1/messages", server.plain(messages=messages, tools=[WEATHER]))
    server.refused(exchange, 400)
    expect(b"toolu_1" in exchange.body, "the message does not name the call")


@check(
    "agent.result_unasked",
    "A result without a call is a 400.",
    reason="It means that the history was cut in the wrong place.",
    source=API + "messages",
)
def result_unasked(server: Server) -> None:
    messages = [{"role": "user", "content": [result()]}]
    server.refused(server.request("POST", "/v1/messages", server.plain(messages=messages, tools=[WEATHER])), 400)


@check(
    "agent.history_long",
    "A history of forty turns with calls is accepted.",
    reason="Agents work for hours.",
    source=_USE,
)
def history_long(server: Server) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Look every hour."}]
    for number in range(20):
        use = {**USE, "id": f"toolu_{number}"}
        turns.append({"role": "assistant", "content": [use]})
        turns.append({"role": "user", "content": [result("Sunny.", tool_use_id=f"toolu_{number}")]})
    server.message(messages=turns, tools=[WEATHER])


@check(
    "agent.cache_marks",
    "`cache_control` is accepted wherever the API has it.",
    reason="Assistants mark system, tools and the last message in each request.",
    source=GUIDE + "prompt-caching",
)
def cache_marks(server: Server) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    hour = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    server.message(
        system=[{"type": "text", "text": "Be brief.", **hour}],
        tools=[{**WEATHER, **hour}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hello.", **mark}]}],
    )


@check(
    "agent.assistant_request",
    "A request shaped like a coding assistant's is answered by a stream.",
    reason="Several system blocks, marks, a user id in JSON, beta headers, a query: each has broken servers.",
    source="Claude Code 2, as recorded",
)
def assistant_request(server: Server) -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    reminder = {"type": "text", "text": "<system-reminder>\nToday is Monday.\n</system-reminder>"}
    body = server.plain(
        stream=True,
        max_tokens=32,
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.0.0;"},
            {"type": "text", "text": "You are a coding assistant.", **mark},
        ],
        metadata={"user_id": '{"device_id":"1","account_uuid":"","session_id":"2"}'},
        tools=[{**WEATHER, "eager_input_streaming": True}],
        messages=[{"role": "user", "content": [reminder, {"type": "text", "text": "Hello.", **mark}]}],
    )
    headers = {"anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14", "x-app": "cli"}
    exchange = server.request("POST", "/v1/messages?beta=true", body, headers=headers)
    expect(exchange.status == 200, f"expected status 200, got {exchange.status}")
    expect(b"message_stop" in exchange.body, "the stream does not end with message_stop")


@check(
    "agent.unknown_beta",
    "A beta header that the server does not know is accepted.",
    reason="Programs are newer than the servers that people host.",
    source="Claude Code 2, as recorded",
)
def unknown_beta(server: Server) -> None:
    headers = {"anthropic-beta": "something-new-2099-01-01"}
    server.accepted(server.request("POST", "/v1/messages", server.plain(), headers=headers), "content")
