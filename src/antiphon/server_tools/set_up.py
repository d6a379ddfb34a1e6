"""What the operator allows → the server tools that run here. The one place that knows every family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from antiphon.server_tools.code.containers import Containers
from antiphon.server_tools.code.family import CodeExecution
from antiphon.server_tools.code.sandbox import Limits, Sandbox
from antiphon.server_tools.mcp.client import McpClient, Server
from antiphon.server_tools.mcp.connector import Connector
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.tool import Family
from antiphon.server_tools.tool_search import ToolSearch
from antiphon.server_tools.web.backends import backend
from antiphon.server_tools.web.fetch import WebFetch
from antiphon.server_tools.web.outward import Outward
from antiphon.server_tools.web.pages import Reading
from antiphon.server_tools.web.search import WebSearch
from antiphon.storage.file_store import FileStore

RESTRICTED = ("web_search", "web_fetch", "mcp", "code_execution")
"""The tools that can be left to some keys."""


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What may run. `search` names a backend (empty: none) and `search_key` is its key; `fetch` allows pages to be
    fetched, from addresses of private networks too with `private`. `mcp` lets requests name MCP servers by
    their addresses, `mcp_servers` are the operator's own. `code` is the folder for what code leaves (empty: no code
    runs), `code_memory` and `code_disk` are its bounds in bytes, `code_runs` are its runs at once. `keys` says who may
    use a tool, as `TOOL=LABEL`. Tool search reaches nothing, and always runs."""

    search: str = ""
    search_key: str = ""
    fetch: bool = False
    private: bool = False
    mcp: bool = False
    mcp_servers: tuple[Server, ...] = ()
    code: str = ""
    code_memory: int = Limits().memory
    code_disk: int = Limits().disk
    code_runs: int = 4
    keys: tuple[str, ...] = ()
    bounds: Bounds = Bounds()

    @property
    def code_limits(self) -> Limits:
        """How far code may go. It has a little less time than its call, so that its files can be kept."""
        return Limits(seconds=0.9 * self.bounds.seconds, memory=self.code_memory, disk=self.code_disk)


def set_up(allowed: Allowed, files: FileStore | None = None) -> ServerTools:
    """The tools; what code makes is kept among the `files` of clients, if any are. Raises ValueError, in a sentence,
    where one cannot be set up as it is told."""
    families: list[Family] = [ToolSearch()]
    if allowed.search:
        families.append(WebSearch(backend(allowed.search, allowed.search_key)))
    if allowed.fetch:
        families.append(WebFetch(Outward(allow_private=allowed.private), Reading()))
    outward = Outward(allow_private=allowed.private)
    connector = None
    if allowed.mcp or allowed.mcp_servers:
        connector = Connector(McpClient(outward), allowed.mcp_servers, open=allowed.mcp)
    containers = None
    if allowed.code:
        containers = Containers(Path(allowed.code))
        families.append(CodeExecution(Sandbox(allowed.code_limits, most=allowed.code_runs), containers, files))
    return ServerTools(families, allowed.bounds, connector, containers, _keys(allowed.keys))


def _keys(pairs: Sequence[str]) -> dict[str, frozenset[str]]:
    """The labels of the keys that may use each tool that is named."""
    labels: dict[str, set[str]] = {}
    for pair in pairs:
        tool, _, label = pair.partition("=")
        if tool not in RESTRICTED or not label:
            raise ValueError(f"tool_key is {pair!r}: it should be TOOL=LABEL, where TOOL is {', '.join(RESTRICTED)}")
        labels.setdefault(tool, set()).add(label)
    return {tool: frozenset(found) for tool, found in labels.items()}
