"""The MCP connector: `mcp_servers` and `mcp_toolset`, and the operator's own servers by their names.

A client names a server by its address, if the operator allows that, and never by a program. Before the prompt is made
each server is asked what it has, unless the request pins the list; then its tools are tools like others, whose calls
and results stand in blocks of their own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec

from antiphon.api.conversation import Tool
from antiphon.api.errors import BadRequest
from antiphon.server_tools.mcp.client import Listed, McpClient, Server
from antiphon.server_tools.mcp.results import MAX_TEXT, within
from antiphon.server_tools.tool import Call, Declared, Fields, ToolFailed

MAX_SERVERS = 20
KEPT_SECONDS = 300.0
MOST_KEPT = 200
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]")
_HEADER = re.compile(r"(?!(?:host|connection|content-length|transfer-encoding|upgrade)$)[!#$%&'*+.^_`|~0-9a-z-]+")
"""The name of a header that may go to a server: none that says where a request ends, or who it is for."""
_LONGEST_NAME = 128


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of `mcp_servers`."""

    url: str
    name: str
    type: str = "url"
    authorization_token: str | None = None
    headers: dict[str, str] | None = None
    tool_configuration: dict[str, Any] | None = None


class Toolset(msgspec.Struct, frozen=True, kw_only=True):
    """An `mcp_toolset` among the tools."""

    mcp_server_name: str
    default_config: dict[str, Any] | None = None
    configs: dict[str, dict[str, Any]] | None = None
    tools: list[Listed] | None = None


class ServerListing(NamedTuple):
    """The tools of a request's MCP servers, and what those servers listed that were asked, by their names."""

    declared: list[Declared]
    listings: dict[str, list[Listed]]


class Connector:
    """The servers that `own` by name, and those that clients name if they may (`open`). What a server lists is kept for
    some minutes, so that a conversation's prompt begins with the same tools."""

    def __init__(self, client: McpClient, own: Sequence[Server] = (), *, open: bool = False) -> None:
        self._client = client
        self._own = {server.name: server for server in own}
        self._open = open
        self._lists: dict[Server, tuple[float, list[Listed]]] = {}

    @staticmethod
    def takes(kind: str) -> bool:
        """Whether a declaration of this type is a toolset."""
        return kind == "mcp_toolset"

    async def declared(
        self,
        servers: Sequence[tuple[str, Any]],
        toolsets: Sequence[tuple[str, Mapping[str, Any]]],
        taken: Iterable[str],
        seconds: float,
        key: str = "",
    ) -> ServerListing:
        """The tools of a request's servers and toolsets, each with its dotted path. `taken` are the names that other
        tools have, `key` is the label of the client's key. Raises BadRequest for what is wrong, or for a server that
        does not say in time what it has."""
        named = self._named(servers)
        requested = [(where, _converted(fields, Toolset, where)) for where, fields in toolsets]
        mentioned = {toolset.mcp_server_name for _, toolset in requested}
        # In the first version of the connector a server without a toolset brings all of its tools.
        for name, (where, _, old) in named.items():
            if name not in mentioned and (toolset := _old(name, old)) is not None:
                requested.append((where, toolset))
        placed = [(where, toolset, self._server(toolset.mcp_server_name, named, where)) for where, toolset in requested]
        lists = await asyncio.gather(*(self._listed(each[2], each[1], seconds, key) for each in placed))
        names = set(taken)
        listing = ServerListing([], {})
        for (_, toolset, server), listed in zip(placed, lists, strict=True):
            if toolset.tools is None:
                listing.listings[server.name] = listed
            configs = ((each, _config(toolset, each.name)) for each in listed)
            listing.declared.extend(
                self._declared(server, each, names, deferred=config.get("defer_loading") is True)
                for each, config in configs
                if config.get("enabled") is not False
            )
        return listing

    def _named(self, servers: Sequence[tuple[str, Any]]) -> dict[str, tuple[str, Server, dict[str, Any] | None]]:
        if servers and not self._open:
            raise BadRequest(
                f"{servers[0][0]}: this server connects to no MCP server that a request names by URL; its operator can "
                "allow that (mcp_connector), or configure the server by name"
            )
        if len(servers) > MAX_SERVERS:
            raise BadRequest(f"mcp_servers: at most {MAX_SERVERS} are allowed; there are {len(servers)}")
        named = {}
        for where, fields in servers:
            entry = _converted(fields, Named, where)
            if entry.type != "url":
                raise BadRequest(f"{where}.type: Input should be 'url'")
            if entry.name in named or entry.name in self._own:
                raise BadRequest(f"{where}.name: MCP server names must be unique; there are two called {entry.name!r}")
            token, headers = entry.authorization_token or "", _headers(entry, where)
            server = Server(name=entry.name, url=entry.url, token=token, headers=headers)
            named[entry.name] = (where, server, entry.tool_configuration)
        return named

    def _server(self, name: str, named: Mapping[str, tuple[str, Server, Any]], where: str) -> Server:
        server = named[name][1] if name in named else self._own.get(name)
        if server is None:
            raise BadRequest(f"{where}.mcp_server_name: there is no MCP server called {name!r} in mcp_servers")
        return server

    async def _listed(self, server: Server, toolset: Toolset, seconds: float, key: str) -> list[Listed]:
        if toolset.tools is not None:
            return toolset.tools
        now = asyncio.get_running_loop().time()
        cached = self._lists.get(server)
        if cached and now - cached[0] < KEPT_SECONDS:
            return cached[1]
        try:
            async with asyncio.timeout(seconds):
                listed = await self._client.tools(server, key)
        except TimeoutError:
            raise BadRequest(_unconnected(server, f"it did not answer within {seconds:g} seconds")) from None
        except ToolFailed as failure:
            raise BadRequest(_unconnected(server, failure.message)) from None
        self._lists.pop(server, None)
        self._lists[server] = (now, listed)
        while len(self._lists) > MOST_KEPT:
            del self._lists[next(iter(self._lists))]
        return listed

    def _declared(self, server: Server, listed: Listed, names: set[str], *, deferred: bool) -> Declared:
        name = _name(server.name, listed.name, names)
        names.add(name)

        async def run(call: Call) -> Fields:
            content, wrong = await self._client.call(server, listed.name, call.input, call.key)
            return {"is_error": wrong, "content": within(content, min(MAX_TEXT, call.room))}

        return Declared(
            tool=Tool(name=name, description=listed.description or "", schema=_schema(listed.input_schema)),
            family="mcp",
            use={"type": "mcp_tool_use", "name": listed.name, "server_name": server.name},
            result="mcp_tool_result",
            run=run,
            failed=_failed,
            prefix="mcptoolu_",
            deferred=deferred,
            read_only=listed.read_only,
        )

    async def trial(self, name: str) -> str:
        """Try one of the operator's servers: what was found. Raises ToolFailed."""
        return f"lists {len(await self._client.tools(self._own[name]))} tools"

    async def close(self) -> None:
        """Let go of the servers."""
        await self._client.close()


def _converted(fields: Any, record: Any, where: str) -> Any:
    try:
        return msgspec.convert(fields, record)
    except msgspec.ValidationError as trouble:
        raise BadRequest(f"{where}: {trouble}") from None


def _headers(entry: Named, where: str) -> tuple[tuple[str, str], ...]:
    headers = {name.lower(): value for name, value in (entry.headers or {}).items()}
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise BadRequest(f"{where}.headers.{name[:100]}: this header cannot be sent to an MCP server")
    return tuple(headers.items())


def _unconnected(server: Server, why: str) -> str:
    return f"Connection error while communicating with MCP server {server.name!r}: {why}"


def _old(name: str, configuration: Mapping[str, Any] | None) -> Toolset | None:
    """The toolset that `tool_configuration` of the connector's first version means."""
    settings = configuration or {}
    if settings.get("enabled") is False:
        return None
    allowed = settings.get("allowed_tools")
    if not isinstance(allowed, list):
        return Toolset(mcp_server_name=name)
    configs = {str(each): {"enabled": True} for each in allowed}
    return Toolset(mcp_server_name=name, default_config={"enabled": False}, configs=configs)


def _config(toolset: Toolset, tool: str) -> Fields:
    return {**(toolset.default_config or {}), **(toolset.configs or {}).get(tool, {})}


def _name(server: str, tool: str, taken: set[str]) -> str:
    """What the model calls a tool: its own name, behind its server's where another tool has it."""
    plain = _UNFIT.sub("_", tool)[:_LONGEST_NAME] or "tool"
    if plain not in taken:
        return plain
    longer = _UNFIT.sub("_", f"{server}_{tool}")[: _LONGEST_NAME - 4]
    return next(name for name in (longer, *(f"{longer}_{number}" for number in range(2, 1000))) if name not in taken)


def _schema(listed: Mapping[str, Any]) -> Fields:
    """The schema of a tool's input, or any object where the server's own is none."""
    schema = {**listed, "type": "object"}
    return schema if jsonschema_rs.meta.is_valid(schema) else {"type": "object"}


def _failed(code: str, message: str) -> Fields:
    return {"is_error": True, "content": [{"type": "text", "text": message}]}
