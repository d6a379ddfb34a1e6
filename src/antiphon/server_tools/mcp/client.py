"""Talking to MCP servers, by the official library: what they list, and what their tools answer.

A server that a client names is reached through the one way out: its name is resolved and judged here, and the
connection goes to the judged address. What the operator names is trusted as far as where it is. What any of them sends
is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import msgspec

from antiphon.api.offload import offload
from antiphon.server_tools.mcp.results import blocks, slow
from antiphon.server_tools.mcp.sessions import Owner, Sessions
from antiphon.server_tools.tool import Fields, ToolFailed
from antiphon.server_tools.web.outward import Outward, Refused

if TYPE_CHECKING:
    import httpx2
    from mcp.client.client import Client
    from mcp.types import CallToolResult

MAX_BYTES = 8 * 1024 * 1024
"""Of one answer."""
MAX_TOOLS = 1000
MAX_PAGES = 50
_LISTING = 60.0
"""Seconds that a listing may take."""
_GREETINGS = 2
"""Connections to one server that are opened at a time. The library takes 20 ms of the worker for one, which with many
requests at once would stop every other stream."""
_MOST_KNOWN = 200
"""Servers of which it is remembered how they are greeted."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """An MCP server: at an address, or a program of the operator's. The `token` and other `headers` (names in small
    letters, values) go with each request. `trusted` ones may be on private networks."""

    name: str
    url: str = ""
    token: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    command: tuple[str, ...] = ()
    trusted: bool = False


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as its server lists it; `read_only` where it says that the tool changes nothing."""

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    read_only: bool = False


class McpClient:
    """Connects anew to an address for each listing and each call: nothing is kept that could die in the meantime. A
    program is kept for the `key` that uses it. Raises ValueError when the library is not installed."""

    def __init__(self, outward: Outward) -> None:
        try:
            import httpx2
            import mcp  # noqa: F401
        except ImportError:
            raise ValueError("MCP servers need a library: pip install 'antiphon[tools]'") from None
        self._outward = outward
        # To make one takes some 30 ms, so there is one for all connections.
        self._tls = httpx2.create_ssl_context()
        self._listings: dict[Server, asyncio.Task[list[Listed]]] = {}
        self._greetings: WeakValueDictionary[Server, asyncio.Semaphore] = WeakValueDictionary()
        self._manners: OrderedDict[Server, dict[str, Any]] = OrderedDict()
        self._sessions = Sessions(MAX_BYTES)

    async def tools(self, server: Server, key: str = "") -> list[Listed]:
        """Its tools. Requests that ask at the same time share one listing. Raises ToolFailed."""
        listing = self._listings.get(server)
        if listing is None:
            listing = self._listings[server] = asyncio.create_task(self._listed(server, key))
            listing.add_done_callback(partial(self._over, server))
        return await asyncio.shield(listing)

    def _over(self, server: Server, listing: asyncio.Task[list[Listed]]) -> None:
        del self._listings[server]
        if not listing.cancelled():
            # Nobody may be left to hear of it.
            listing.exception()

    async def _listed(self, server: Server, key: str) -> list[Listed]:
        try:
            async with asyncio.timeout(_LISTING):
                return await self._pages(server, key)
        except TimeoutError:
            raise ToolFailed("unavailable", f"it took more than {_LISTING:g} seconds to list its tools") from None

    async def _pages(self, server: Server, key: str) -> list[Listed]:
        tools: list[Listed] = []
        async with self._connected(server, key) as client:
            cursor: str | None = None
            for _ in range(MAX_PAGES):
                page = await client.list_tools(cursor=cursor)
                tools += [
                    Listed(
                        name=each.name,
                        description=each.description,
                        input_schema=dict(each.input_schema),
                        read_only=each.annotations is not None and each.annotations.read_only_hint is True,
                    )
                    for each in page.tools
                ]
                cursor = page.next_cursor
                if len(tools) > MAX_TOOLS:
                    raise ToolFailed("unavailable", f"it lists more than {MAX_TOOLS} tools")
                if not cursor:
                    return tools
        raise ToolFailed("unavailable", f"its list has more than {MAX_PAGES} pages")

    async def call(self, server: Server, tool: str, input: dict[str, Any], key: str = "") -> tuple[list[Fields], bool]:
        """What a tool answers, as blocks, and whether that is an error. Raises ToolFailed."""
        async with self._connected(server, key) as client:
            # Structured content is hardly ever told; to check it, the library would have the tools listed again.
            client.session.validate_tool_result = _unchecked  # type: ignore[method-assign]
            result = await client.call_tool(tool, input)
            content = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in result.content]
            if not content and result.structured_content is not None:
                content = [{"type": "text", "text": msgspec.json.encode(result.structured_content).decode()}]
            return await offload(slow(content), partial(blocks, content)), bool(result.is_error)

    async def close(self) -> None:
        """End the programs that are kept."""
        await self._sessions.close()

    @contextlib.asynccontextmanager
    async def _connected(self, server: Server, key: str) -> AsyncIterator[Client]:
        opening = (
            self._sessions.connected(Owner(server.name, server.command, key))
            if server.command
            else self._greeted(server)
        )
        try:
            async with opening as client:
                yield client
        except BaseExceptionGroup as group:
            raise _tool_failure(group) from None
        except ToolFailed:
            raise
        except Exception as trouble:
            raise _tool_failure(trouble) from None

    @contextlib.asynccontextmanager
    async def _greeted(self, server: Server) -> AsyncIterator[Client]:
        """A new connection to an address. One that was met before is not asked again which versions of the protocol it
        speaks, and not greeted at all where the version has no greeting."""
        from mcp.client.client import Client

        async with contextlib.AsyncExitStack() as stack:
            # Whatever fails, it may be another server by now.
            stack.push(partial(self._forget, server))
            greeting = self._greetings.setdefault(server, asyncio.Semaphore(_GREETINGS))
            async with greeting:
                transport = await self._transport(server, stack)
                manners = self._manners.get(server, {"mode": "auto"})
                client = await stack.enter_async_context(Client(transport, cache=None, **manners))
            self._remember(server, client)
            yield client

    def _remember(self, server: Server, client: Client) -> None:
        """Note how to greet a server the next time."""
        found = client.session.discover_result
        newer = {"mode": client.protocol_version, "prior_discover": found}
        self._manners[server] = newer if found else {"mode": "legacy"}
        if len(self._manners) > _MOST_KNOWN:
            self._manners.popitem(last=False)

    def _forget(self, server: Server, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._manners.pop(server, None)

    async def _transport(self, server: Server, stack: contextlib.AsyncExitStack) -> Any:
        from mcp.client.sse import sse_client
        from mcp.client.streamable_http import streamable_http_client

        outward = Outward(allow_private=True) if server.trusted else self._outward
        outward.judge(server.url)
        headers = dict(server.headers) | ({"authorization": f"Bearer {server.token}"} if server.token else {})
        if urlsplit(server.url).path.rstrip("/").endswith("/sse"):
            return sse_client(server.url, headers=headers, httpx_client_factory=partial(_web, outward, self._tls))
        client = await stack.enter_async_context(_web(outward, self._tls, headers=headers))
        return streamable_http_client(server.url, http_client=client)


def _web(
    outward: Outward,
    tls: ssl.SSLContext,
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
) -> httpx2.AsyncClient:
    """A client whose connections go only where they may, and whose answers end."""
    import httpx2

    class Bounded(httpx2.AsyncByteStream):
        def __init__(self, inner: httpx2.AsyncByteStream) -> None:
            self._inner = inner

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for chunk in self._inner:
                size += len(chunk)
                if size > MAX_BYTES:
                    raise ToolFailed("unavailable", f"it sends more than {MAX_BYTES} bytes")
                yield chunk

        async def aclose(self) -> None:
            await self._inner.aclose()

    class Judged(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            outward.judge(str(request.url))
            host = request.url.host
            (place, *_) = await outward.resolve(host, request.url.port or 0)
            request.extensions = {**request.extensions, "sni_hostname": host}
            # The header `host` was made before, and stays.
            request.url = request.url.copy_with(host=place["host"])
            # Packed bytes would not be counted as they are unpacked.
            request.headers["accept-encoding"] = "identity"
            response = await super().handle_async_request(request)
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = Bounded(response.stream)
            return response

    return httpx2.AsyncClient(
        transport=Judged(verify=tls), trust_env=False, headers=headers, timeout=timeout or httpx2.Timeout(60), auth=auth
    )


async def _unchecked(name: str, result: CallToolResult) -> None:
    """Takes a result as it is."""


def _tool_failure(trouble: BaseException) -> ToolFailed:
    """A failure in a sentence that tells nothing of the network behind the server."""
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    if isinstance(trouble, ToolFailed):
        return trouble
    if isinstance(trouble, Refused):
        return ToolFailed("unavailable", str(trouble))
    from mcp.shared.exceptions import MCPError

    said = str(trouble)[:500] if isinstance(trouble, MCPError) else type(trouble).__name__
    return ToolFailed("unavailable", said)
