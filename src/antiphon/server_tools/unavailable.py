"""The answer to a request that only a server tool which is not set up here could serve: the tool is called, and tells
that it is unavailable.

Such a request must never end in a call of a client tool, and a model asked to search would make up what it found.
"""

from __future__ import annotations

import re

import msgspec

from antiphon.api.events import (
    AnyEvent,
    Finished,
    ServerResult,
    ServerToolStart,
    Started,
    TextDelta,
    ToolDelta,
    ToolEnd,
    Usage,
)
from antiphon.server_tools.tool import DIRECT, server_use
from antiphon.server_tools.web.search import ASKED_FOR

_SEARCH = re.compile(rf"{ASKED_FOR}:\s*(.+)")
_RESULTS = (
    ("web_search", "web_search_tool_result"),
    ("web_fetch", "web_fetch_tool_result"),
    ("code_execution", "code_execution_tool_result"),
    ("tool_search_tool", "tool_search_tool_result"),
    ("advisor", "advisor_tool_result"),
)
_LONGEST_QUERY = 1000


def wants_search(kind: str, text: str) -> bool:
    """Whether the user's text is the sentence with which a coding assistant asks for a web search."""
    return kind.startswith("web_search_") and _SEARCH.search(text) is not None


def answer(name: str, kind: str, text: str, id: str, usage: Usage) -> list[AnyEvent]:
    """The events of a whole message: the call with this id, its error, and a sentence for the model that asked. `text`
    is the user's last. Of a tool that has no results of its own there is the sentence."""
    sentence: list[AnyEvent] = [TextDelta(f"{name} is not available on this server."), Finished("end_turn", usage)]
    result = next((result for family, result in _RESULTS if kind.startswith(family)), None)
    if result is None:
        return [Started(usage), *sentence]
    query = _SEARCH.search(text)
    searches = result == "web_search_tool_result"
    input = {"query": (query[1] if query else text).strip()[:_LONGEST_QUERY]} if searches else {}
    error = {"type": f"{result}_error", "error_code": "unavailable"}
    return [
        Started(usage),
        ServerToolStart(id, {**server_use(name), "id": id, "input": {}}),
        ToolDelta(msgspec.json.encode(input).decode()),
        ToolEnd(),
        ServerResult({"type": result, "tool_use_id": id, "caller": DIRECT, "content": error}),
        *sentence,
    ]
