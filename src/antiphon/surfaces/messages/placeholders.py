"""Blocks that a model cannot take as they are → the short plain text that stands for them.

What a server tool once did is told in a line or two, because the conversation may refer to it. A block that says
nothing to a model gives nothing; one that nobody here knows gives its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from antiphon.server_tools.result import words

Fields = dict[str, Any]


def placeholder(kind: str, fields: Fields) -> str:
    """The text that stands for a block of this kind. May be empty."""
    rendering = _TABLE.get(kind)
    if rendering is not None:
        return rendering(fields)
    if kind.endswith("_tool_result"):
        return _server_result(fields)
    return f"[{_short(kind, 60)} omitted]"


def _nothing(fields: Fields) -> str:
    return ""


def _server_use(fields: Fields) -> str:
    given = fields.get("input")
    shown = _short(msgspec.json.encode(given).decode(), 2000) if given else ""
    return f"[{_text(fields, 'name') or 'server tool'} {shown}".rstrip() + "]"


def _server_result(fields: Fields) -> str:
    text = words(fields.get("content"))
    if not text:
        return ""
    return f"[{str(fields.get('type', 'tool result')).removesuffix('_tool_result')} result]\n{text}"


def _container_upload(fields: Fields) -> str:
    return f"[file {_short(_text(fields, 'file_id'), 80)} omitted: no code runs for this request]"


def _tool_reference(fields: Fields) -> str:
    return f"[tool available: {_short(_text(fields, 'tool_name') or _text(fields, 'name'), 256)}]"


def _tool_removal(fields: Fields) -> str:
    tool = fields.get("tool")
    name = _text(tool, "name") if isinstance(tool, dict) else ""
    return f"[tool no longer available: {_short(name, 256)}]" if name else ""


def _browser_state(fields: Fields) -> str:
    lines = ["[browser state]"]
    tabs = fields.get("tabs")
    for tab in tabs if isinstance(tabs, list) else []:
        if isinstance(tab, dict):
            mark = "*" if tab.get("active") is True else "-"
            lines.append(f"{mark} tab {tab.get('tab_id')}: {_text(tab, 'title')} {_text(tab, 'url')}".rstrip())
    changes = fields.get("state_changes")
    if changes:
        lines.append("changes: " + _short(msgspec.json.encode(changes).decode(), 4000))
    return "\n".join(lines)


def _compaction(fields: Fields) -> str:
    return _text(fields, "content")


def _mcp_result(fields: Fields) -> str:
    found = words(fields.get("content"))
    return f"[{'error' if fields.get('is_error') is True else 'result'}]\n{found}" if found else ""


def _text(fields: Fields, key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


_TABLE: dict[str, Callable[[Fields], str]] = {
    "browser_state": _browser_state,
    "compaction": _compaction,
    "container_upload": _container_upload,
    "fallback": _nothing,
    "mcp_tool_listing": _nothing,
    "mcp_tool_result": _mcp_result,
    "mcp_tool_use": _server_use,
    "redacted_thinking": _nothing,
    "server_tool_use": _server_use,
    "tool_addition": _nothing,
    "tool_reference": _tool_reference,
    "tool_removal": _tool_removal,
}
