"""Declarations of tools that run here, in this API's words, as `server_tools` knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import Declared

Fields = dict[str, Any]


class McpServer(msgspec.Struct, frozen=True, kw_only=True):
    """An MCP server that a request names: the path of its declaration, its entry (none: the operator's own server of
    that name is meant) and its toolset, as the connector takes them, and which of its calls the client approves."""

    where: str
    label: str
    entry: Fields | None
    toolset: Fields
    require_approval: Any


class Box(Protocol):
    """Takes in what is declared."""

    servers: list[McpServer]

    def serve(self, declared: Declared, where: str) -> None:
        """Put a tool in that runs here."""


def declare(box: Box, offered: ServerTools, kind: str, settings: Mapping[str, Any], where: str) -> bool:
    """Put in what a declaration brings; false where nothing here could run it. Raises BadRequest."""
    if kind == "mcp":
        return offered.connector is not None and _connect(box, settings, where)
    known = _known(kind, settings)
    if known is None:
        return False
    served = offered.declare(*known, where)
    for declared in served or ():
        box.serve(declared, where)
    return bool(served)


def _known(kind: str, settings: Mapping[str, Any]) -> tuple[str, Fields] | None:
    """Type and settings of a tool, as the families know them."""
    shared = {key: settings[key] for key in ("allowed_callers",) if key in settings}
    if kind.startswith("web_search"):
        filters = settings.get("filters")
        domains = {key: value for key, value in filters.items() if value} if isinstance(filters, dict) else {}
        return "web_search_20250305", {**shared, **domains, "user_location": settings.get("user_location")}
    match kind:
        case "code_interpreter":
            return "code_execution_20250825", shared
        case "tool_search":
            return "tool_search_tool_bm25_20251119", shared
        case _:
            return None


def _connect(box: Box, settings: Mapping[str, Any], where: str) -> bool:
    label, url = settings.get("server_label"), settings.get("server_url")
    if not isinstance(label, str):
        return False
    entry: Fields | None = None
    if isinstance(url, str):
        token, headers = settings.get("authorization"), settings.get("headers")
        entry = {"type": "url", "name": label, "url": url, "authorization_token": token, "headers": headers}
    toolset: Fields = {"mcp_server_name": label}
    default: Fields = {"defer_loading": settings.get("defer_loading") is True}
    allowed = settings.get("allowed_tools")
    names = allowed.get("tool_names") if isinstance(allowed, dict) else allowed
    if isinstance(names, list):
        default["enabled"] = False
        toolset["configs"] = {str(name): {"enabled": True} for name in names}
    toolset["default_config"] = default
    required = settings.get("require_approval")
    box.servers.append(McpServer(where=where, label=label, entry=entry, toolset=toolset, require_approval=required))
    return True
