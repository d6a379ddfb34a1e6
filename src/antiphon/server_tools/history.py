"""An assistant's message with server tools in it → the turns that it was made in.

The rounds of a message are told one after the other: what the model wrote, then the results of its calls. So a result
ends what the model wrote, and what stands behind it was written in the next round.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from antiphon.api.conversation import Part, Role, ToolResult, ToolUse, Turn
from antiphon.server_tools.result import not_run

_CALLS = ("server_tool_use", "mcp_tool_use")

Names = Mapping[tuple[str, str], str]
"""What the model knows tools by, by their name on the wire and that of the server they are on."""


def call(kind: str, fields: Mapping[str, Any], names: Names) -> ToolUse | None:
    """The call of a server tool that a block of this type is, if it is one."""
    id, name, input = (fields.get(key) for key in ("id", "name", "input"))
    if kind not in _CALLS or not (isinstance(id, str) and id and isinstance(name, str) and name):
        return None
    server = fields.get("server_name")
    name = names.get((name, server if isinstance(server, str) else ""), name)
    return ToolUse(id=id, name=name, input=msgspec.json.encode(input if isinstance(input, dict) else {}).decode())


def answers(kind: str, fields: Mapping[str, Any], calls: Container[str]) -> bool:
    """Whether a block of this type is the result of one of the calls with these ids."""
    return kind.endswith("_tool_result") and str(fields.get("tool_use_id")) in calls


def rounds(parts: Iterable[Part], ours: set[str]) -> list[Turn]:
    """The turns behind the parts of one message, results of server tools among them. `ours` are the ids of its calls of
    such tools: each gets a result, those that were never run one that says so."""
    turns: list[tuple[Role, list[Part]]] = [("assistant", [])]
    for part in parts:
        role: Role = "user" if isinstance(part, ToolResult) else "assistant"
        if turns[-1][0] != role:
            if role == "assistant":
                _complete(turns, ours)
            turns.append((role, []))
        turns[-1][1].append(part)
    _complete(turns, ours)
    return [Turn(role=role, parts=tuple(parts)) for role, parts in turns]


def _complete(turns: list[tuple[Role, list[Part]]], ours: set[str]) -> None:
    """Give the last round's calls of server tools their missing results."""
    said = next(parts for role, parts in reversed(turns) if role == "assistant")
    answers = turns[-1][1] if turns[-1][0] == "user" else []
    answered = {part.tool_use_id for part in answers if isinstance(part, ToolResult)}
    missing = [part.id for part in said if isinstance(part, ToolUse) and part.id in ours and part.id not in answered]
    if missing and turns[-1][0] == "assistant":
        turns.append(("user", []))
    turns[-1][1].extend(not_run(id) for id in missing)
