"""Edits of contexts that grow too large, and tools that run on the server."""

from __future__ import annotations

from typing import Any

from antiphon_check.agent.histories import USE, result
from antiphon_check.agent.tools import WEATHER
from antiphon_check.registry import GUIDE, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

_GUIDE = GUIDE + "context-editing"
_BETA = {"anthropic-beta": "context-management-2025-06-27"}


def _edited(server: Server) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "Look every hour."}]
    for number in range(6):
        turns.append({"role": "assistant", "content": [{**USE, "id": f"toolu_{number}"}]})
        turns.append({"role": "user", "content": [result("Sunny. " * 40, tool_use_id=f"toolu_{number}")]})
    edit = {
        "type": "clear_tool_uses_20250919",
        "trigger": {"type": "tool_uses", "value": 5},
        "keep": {"type": "tool_uses", "value": 1},
    }
    return server.plain(messages=turns, tools=[WEATHER], context_management={"edits": [edit]})


@check(
    "full.clear_tool_uses",
    "Old tool results are cleared when asked for, and the reply says how many.",
    reason="Agents that run for days rely on it to stay within the window.",
    source=SDK + "types/beta/beta_clear_tool_uses_20250919_edit_response.py",
)
def clear_tool_uses(server: Server) -> None:
    exchange = server.request("POST", "/v1/messages", _edited(server), headers=_BETA)
    managed = server.accepted(exchange, "content").get("context_management")
    if managed is None:
        raise Unjudged("the server does not manage contexts")
    edits = managed.get("applied_edits")
    expect(isinstance(edits, list) and len(edits) == 1, f"`applied_edits` is {edits!r}")
    expect(edits[0].get("cleared_tool_uses") == 5, f"`cleared_tool_uses` is {edits[0].get('cleared_tool_uses')!r}")
    cleared = edits[0].get("cleared_input_tokens")
    expect(type(cleared) is int and cleared > 100, f"`cleared_input_tokens` is {cleared!r}")


@check(
    "full.count_edited",
    "`count_tokens` says how much would remain, and how much there was.",
    reason="Programs plan by it.",
    source=SDK + "types/beta/beta_message_tokens_count.py",
)
def count_edited(server: Server) -> None:
    body = {**_edited(server)}
    body.pop("max_tokens")
    exchange = server.request("POST", "/v1/messages/count_tokens", body, headers=_BETA)
    counted = server.accepted(exchange, "input_tokens")
    managed = counted.get("context_management")
    if managed is None:
        raise Unjudged("the server does not manage contexts")
    before = managed.get("original_input_tokens")
    expect(
        type(before) is int and before > counted["input_tokens"],
        f"`original_input_tokens` is {before!r}, and {counted['input_tokens']} remain",
    )


@check(
    "full.server_tools",
    "A tool that would run on the server is run, answered with an error of its own, or refused with a 400.",
    reason="Assistants declare `web_search`; a server that cannot must say so, and not make results up.",
    source="https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/web-search-tool",
)
def server_tools(server: Server) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]
    exchange = server.request("POST", "/v1/messages", server.plain(tools=tools, max_tokens=200))
    if exchange.status != 200:
        server.refused(exchange, 400)
        return
    content = server.accepted(exchange, "content")["content"]
    used = {block.get("id") for block in content if block.get("type") == "server_tool_use"}
    answered = {block.get("tool_use_id") for block in content if block.get("type") == "web_search_tool_result"}
    expect(used == answered, "a call of the server's own has no result block")
    client = [block for block in content if block.get("type") == "tool_use" and block.get("name") == "web_search"]
    expect(not client, "a tool of the server's is given to the client to run")
