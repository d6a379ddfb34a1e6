"""What the operator allows → the server tools that run here. The one place that knows every family."""

from __future__ import annotations

import msgspec

from antiphon.server_tools.backends import backend
from antiphon.server_tools.mcp_client import McpClient, Server
from antiphon.server_tools.mcp_connector import Connector
from antiphon.server_tools.outward import Outward
from antiphon.server_tools.pages import Reading
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.tool import Family
from antiphon.server_tools.tool_search import ToolSearch
from antiphon.server_tools.web_fetch import WebFetch
from antiphon.server_tools.web_search import WebSearch


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What may run. `search` names a backend (empty: none) and `search_key` is its key; `fetch` allows pages to be
    fetched, from addresses of private networks too with `private`. `mcp` lets requests name MCP servers by
    their addresses, `mcp_servers` are the operator's own. Tool search reaches nothing, and always runs."""

    search: str = ""
    search_key: str = ""
    fetch: bool = False
    private: bool = False
    mcp: bool = False
    mcp_servers: tuple[Server, ...] = ()
    bounds: Bounds = Bounds()


def set_up(allowed: Allowed) -> ServerTools:
    """The tools. Raises ValueError, in a sentence, where one cannot be set up as it is told."""
    families: list[Family] = [ToolSearch()]
    if allowed.search:
        families.append(WebSearch(backend(allowed.search, allowed.search_key)))
    if allowed.fetch:
        families.append(WebFetch(Outward(allow_private=allowed.private), Reading()))
    outward = Outward(allow_private=allowed.private)
    connector = None
    if allowed.mcp or allowed.mcp_servers:
        connector = Connector(McpClient(outward), allowed.mcp_servers, open=allowed.mcp)
    return ServerTools(families, allowed.bounds, connector)
