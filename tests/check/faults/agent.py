"""Faults in what coding assistants need."""

from __future__ import annotations

import json
from typing import Any

from ..reference import Answer, Request, State
from .changes import (
    Message,
    accepting,
    blocks,
    calls,
    fault,
    hiding,
    in_blocks,
    in_each,
    in_messages,
    is_message,
    refusing,
    saying,
)

_CALL = {"type": "tool_use", "id": "toolu_9", "name": "get_weather", "input": {"city": "Graz"}}
_WORDS: Message = {"content": [{"type": "text", "text": "I will call it."}]}


def _choice(request: Request) -> Message:
    return request.body.get("tool_choice") or {}


def _tools(request: Request) -> list[Message]:
    return request.body.get("tools") or []


def _only_offered(request: Request) -> bool:
    return bool(_tools(request)) and not _choice(request) and "context_management" not in request.body


def _other_city(block: Message) -> None:
    if "city" in block["input"]:
        block["input"]["city"] = "Rome"


def _steps_as_text(block: Message) -> None:
    if "steps" in block["input"]:
        block["input"]["steps"] = "[]"


def _ended_turn(message: Message) -> None:
    if any(calls(message)):
        message["stop_reason"] = "end_turn"


def _early_input(value: Message) -> None:
    if "input" in value["content_block"]:
        value["content_block"]["input"] = {"city": "Graz"}


def _cut_input(value: Message) -> None:
    if "partial_json" in value["delta"]:
        value["delta"]["partial_json"] = value["delta"]["partial_json"].rstrip("}")


def _results(request: Request) -> list[Message]:
    return [block for block in blocks(request) if block.get("type") == "tool_result"]


def _dropped_results(request: Request, given: Answer, state: State) -> None:
    if is_message(request) and "context_management" not in request.body:
        for block in _results(request):
            block["content"] = "…"


def _tools_not_counted(request: Request, given: Answer, state: State) -> None:
    if request.path.endswith("count_tokens") and isinstance(request.body, dict):
        request.body.pop("tools", None)


def _counts_too_high(request: Request, given: Answer, state: State) -> None:
    counted: Any = given.value if request.path.endswith("count_tokens") and given.status == 200 else {}
    if "input_tokens" in counted and "context_management" not in counted and len(request.raw) < 5000:
        counted["input_tokens"] *= 2


def _other_words(request: Request, given: Answer, state: State) -> None:
    if "too long" in json.dumps(given.value):
        given.value["error"]["message"] = "context exceeded"


_COUNTED = ("agent.count", "agent.count_parts", "agent.count_usage", "agent.count_refused", "agent.too_long")

TOOLS = (
    *(
        fault(
            name,
            "agent.tool_any",
            "agent.tool_fields",
            "agent.tool_forced",
            "agent.tool_ids",
            "agent.tool_input",
            "agent.tool_known",
            "agent.tool_nested",
            after=in_messages(saying(**_WORDS, stop_reason=reason), _choice),
        )
        for name, reason in (("forced calls in words", "end_turn"), ("forced calls in words, cut", "max_tokens"))
    ),
    fault("calls of other tools", "agent.tool_forced", "agent.tool_any", after=in_blocks("tool_use", saying(name="x"))),
    fault(
        "ids with a dot",
        "agent.tool_fields",
        after=in_blocks("tool_use", lambda block: block.update(id=block["id"].replace("_", "."))),
    ),
    fault(
        "input as a string",
        "agent.tool_fields",
        "agent.tool_input",
        "agent.tool_known",
        "agent.tool_nested",
        after=in_blocks("tool_use", lambda block: block.update(input=json.dumps(block["input"]))),
    ),
    fault("one id for all calls", "agent.tool_ids", after=in_blocks("tool_use", saying(id="toolu_same"))),
    fault("input that does not match", "agent.tool_input", after=in_blocks("tool_use", _other_city)),
    fault("lists as text", "agent.tool_nested", after=in_blocks("tool_use", _steps_as_text)),
    fault("calls end the turn", "agent.tool_forced", after=in_messages(_ended_turn)),
    fault("input at once in streams", "agent.tool_stream", after=in_each("content_block_start", _early_input)),
    fault("input cut in streams", "agent.tool_stream", after=in_each("content_block_delta", _cut_input)),
    fault(
        "none is not kept to",
        "agent.tool_none",
        after=in_messages(
            saying(content=[_CALL], stop_reason="tool_use"), lambda request: _choice(request).get("type") == "none"
        ),
    ),
    fault(
        "tool_use without a call", "agent.tool_auto", after=in_messages(saying(stop_reason="tool_use"), _only_offered)
    ),
    fault(
        "always two calls",
        "agent.tool_single",
        after=in_messages(
            lambda message: message.update(content=message["content"] * 2),
            lambda request: _choice(request).get("disable_parallel_tool_use"),
        ),
    ),
    fault(
        "strict refused",
        "agent.result_own",
        "agent.tool_any",
        "agent.tool_extras",
        "agent.tool_fields",
        "agent.tool_ids",
        "agent.tool_input",
        "agent.tool_nested",
        "agent.tool_single",
        "agent.tool_stream",
        before=refusing(lambda request: any("strict" in tool for tool in _tools(request))),
    ),
    fault(
        "bash refused",
        "agent.tool_known",
        before=refusing(lambda request: any("bash" in str(tool.get("type")) for tool in _tools(request))),
    ),
    fault("tools twice", "agent.tool_twice", after=accepting("must be unique.")),
    fault("schemas not looked at", "agent.tool_schema", after=accepting("not a schema of an object")),
    fault("unknown tools forced", "agent.tool_unknown", after=accepting("no such tool")),
)
HISTORIES = (
    fault(
        "results without content refused",
        "agent.result_forms",
        before=refusing(lambda request: any("content" not in block for block in _results(request))),
    ),
    fault("results dropped", "agent.result_text", before=_dropped_results),
    fault(
        "results in another order refused",
        "agent.result_parallel",
        before=refusing(lambda request: [each["tool_use_id"] for each in _results(request)] == ["toolu_2", "toolu_1"]),
    ),
    fault(
        "its own calls refused",
        "agent.result_own",
        before=refusing(lambda request: any("21 degrees" in str(each.get("content")) for each in _results(request))),
    ),
    fault("missing results are fine", "agent.result_missing", after=accepting("ids were found without")),
    fault("results nobody asked for are fine", "agent.result_unasked", after=accepting("unexpected `tool_use_id`")),
    fault(
        "long histories refused",
        "agent.history_long",
        before=refusing(lambda request: len(request.body.get("messages") or "") > 30),
    ),
    fault("hours refused", "agent.cache_marks", before=refusing(lambda request: b'"1h"' in request.raw)),
    fault("queries refused", "agent.assistant_request", before=hiding("beta=true")),
    fault(
        "betas refused",
        "agent.unknown_beta",
        before=refusing(lambda request: "2099" in request.headers.get("anthropic-beta", "")),
    ),
)
CONTEXTS = (
    fault("no count", *_COUNTED, "full.cache_sum", "full.count_edited", before=hiding("count_tokens")),
    fault("tools not counted", "agent.count_parts", "agent.count_usage", before=_tools_not_counted),
    fault("counts too high", "agent.count_usage", "full.cache_sum", after=_counts_too_high),
    fault(
        "large limits refused",
        "agent.max_tokens_large",
        before=refusing(lambda request: request.body.get("max_tokens") == 32000),
    ),
    fault("too long in other words", "agent.too_long", after=_other_words),
    fault(
        "results not cleared",
        "full.clear_tool_uses",
        after=in_messages(
            saying(context_management={"applied_edits": []}), lambda request: "context_management" in request.body
        ),
    ),
)
FAULTS = (*TOOLS, *HISTORIES, *CONTEXTS)
