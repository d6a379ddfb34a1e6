"""Requests as they arrive: headers checked, body read, addresses fetched, all of it decoded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from antiphon.api.errors import BadRequest
from antiphon.api.events import Container
from antiphon.api.offload import LARGE, offload
from antiphon.api.seal import Seal
from antiphon.server_tools.code.family import CodeExecution
from antiphon.server_tools.mcp.client import Listed
from antiphon.server_tools.registry import ServerTools
from antiphon.serving.service import ModelCard, Service
from antiphon.surfaces.content import kept_files, remote
from antiphon.surfaces.content.remote import Fetched
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type, tell_ignored
from antiphon.surfaces.messages import mcp_listings
from antiphon.surfaces.messages.request import decode, tools, uploads, wire
from antiphon.surfaces.messages.request.draft import Draft, addresses, last_text, read_draft
from antiphon.surfaces.messages.threads import Threads, ThreadTurn, unsupported
from antiphon.surfaces.surface import Options, Parameter

_SESSION = re.compile(r"session_([0-9A-Za-z-]{8,})$")

HEADERS = (
    Parameter(
        "anthropic-version",
        "header",
        "The version of the API, such as 2023-06-01. Servers can be configured not to require it.",
        Annotated[str, Meta(min_length=1)],
        required=True,
    ),
    Parameter("anthropic-beta", "header", "Any are accepted; betas that this server does not know are ignored."),
    Parameter("x-claude-code-session-id", "header", "The conversation that the request belongs to."),
    Parameter(
        "antiphon-progress",
        "header",
        "With `1`, pings come each second and tell how much of the prompt is read: `progress` has the numbers of "
        "tokens. Other clients get the usual pings.",
    ),
)
"""The headers that count, for the description of the routes."""
TYPES: dict[str, Any] = {
    "Block": Annotated[Raw, Meta(extra_json_schema={"anyOf": [{"$ref": "KnownBlock"}, wire.OTHER_BLOCK]})],
    "KnownBlock": wire.Known,
    "Tool": tools.Custom,
}
"""What is kept raw in the structs of a request, and read later."""


class ReceivedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was read: as it came and in nouns, the session that it belongs to, the last user's text, the
    container that it names, the files by name that are to be in it, and the turn of a thread that it is."""

    request: wire.Request
    decoded: decode.DecodedRequest
    session: str | None
    text: str
    container: Container | None = None
    uploads: Mapping[str, bytes] = {}
    turn: ThreadTurn | None = None
    listings: Sequence[Mapping[str, Any]] = ()


class RequestReader:
    """Reads requests for one surface."""

    def __init__(self, service: Service, options: Options, seal: Seal) -> None:
        self._service = service
        self._options = options
        self._seal = seal
        self.threads = Threads(options.store, options.files.quota if options.files else 0)
        """Those that requests go on with."""

    async def read(self, exchange: Exchange, *, counting: bool = False) -> ReceivedRequest:
        """The request of an exchange. When only `counting`, no length of the reply need be told, and none is a summary.
        Raises whatever is wrong with it as a Failure."""
        _check_headers(exchange, version_optional=self._options.version_optional)
        sent = await exchange.body(self._options.max_body)
        body, turn = await self.threads.open(sent, exchange.watch.key)
        # A PDF takes its time, however short it is.
        large = len(body) > LARGE or b'"document"' in body
        offered = self._options.server_tools.for_key(exchange.watch.key)
        draft = await offload(large, partial(read_draft, body, offered))
        request = draft.request
        if counting:
            # Whether a summary is asked for changes nothing about the prompt; so only a message is refused beside it.
            request.compaction = None
        else:
            _check_length(request, interleaved=any("interleaved-thinking" in beta for beta in exchange.betas))
        if exchange.batch is not None:
            _check_batched(request, turn)
        card = self._service.card(request.model)
        listings = await _ask(draft, offered, exchange.watch.key)
        container = _container(draft, offered, exchange.watch.key)
        uploaded = uploads.container_uploads(draft.messages) if _runs_code(draft) else {}
        fetched = await self._fetched(draft, card, exchange.watch.key, uploaded)
        names = uploads.names(uploaded, fetched)
        decoded = await offload(large, partial(decode.decode, draft, card, self._seal, fetched, names))
        tell_ignored(exchange, decoded.ignored)
        return ReceivedRequest(
            request=request,
            decoded=decoded,
            session=_session(exchange, request),
            text=last_text(draft),
            container=container,
            turn=turn,
            listings=mcp_listings.blocks(listings) if mcp_listings.expected(exchange) else [],
            uploads={name: fetched[id].data for id, name in names.items()},
        )

    async def _fetched(
        self, draft: Draft, card: ModelCard, key: str, uploaded: Mapping[str, str]
    ) -> dict[str, Fetched]:
        """What the request points at, by address or file id."""
        options = self._options
        ids = {**uploaded, **addresses(draft, card, "file")}
        kept = await kept_files.read(options.files, ids, key, options.max_body)
        found = await remote.fetch(addresses(draft, card, "url"), allow_private=options.allow_private_urls)
        return {**kept, **found}


def _runs_code(draft: Draft) -> bool:
    return any(declared.family == CodeExecution.name for declared in draft.box.served.values())


def _container(draft: Draft, offered: ServerTools, key: str) -> Container | None:
    """The container that a request names, which must be one of the key's."""
    given = draft.request.container
    id = given.id if isinstance(given, wire.Container) else given
    if isinstance(given, wire.Container) and given.skills is not msgspec.UNSET:
        draft.unknown.append("container.skills")
    if not id:
        return None
    if offered.containers is None:
        draft.unknown.append("container")
        return None
    return offered.containers.find(id, key)


async def _ask(draft: Draft, offered: ServerTools, key: str) -> Mapping[str, list[Listed]]:
    """Ask the servers that a request names for their tools, unless the conversation has them; gives what was listed."""
    servers = draft.request.mcp_servers or []
    if offered.connector is None:
        if servers:
            draft.unknown.append("mcp_servers")
    elif servers or draft.box.asking:
        placed = [(f"mcp_servers.{index}", each) for index, each in enumerate(servers)]
        taken = draft.box.names()
        toolsets = mcp_listings.pinned(draft.box.asking, mcp_listings.known(draft.messages))
        listing = await offered.connector.declared(placed, toolsets, taken, offered.bounds.seconds, key)
        for declared in listing.declared:
            draft.box.serve(declared, "tools")
        return listing.listings
    return {}


def _check_headers(exchange: Exchange, *, version_optional: bool) -> None:
    if not version_optional and not exchange.header("anthropic-version"):
        raise BadRequest("anthropic-version: header is required")
    check_media_type(exchange)


def _check_length(request: wire.Request, *, interleaved: bool) -> None:
    if request.max_tokens is None:
        raise BadRequest("max_tokens: Field required")
    if request.max_tokens == 0 and request.stream:
        raise BadRequest("max_tokens: 0 only warms the cache and cannot be streamed")
    budget = request.thinking and request.thinking.type == "enabled" and request.thinking.budget_tokens
    # Interleaved, the budget is that of all thinking between the calls of a turn.
    if budget and not interleaved and 0 < request.max_tokens <= budget:
        raise BadRequest("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_batched(request: wire.Request, turn: ThreadTurn | None) -> None:
    if turn is not None:
        raise unsupported("batch", "a request of a batch has none")
    if request.stream:
        raise BadRequest("stream: a request of a batch cannot be streamed")
    if request.max_tokens == 0:
        raise BadRequest("max_tokens: 0 only warms the cache, which a request of a batch cannot")


def _session(exchange: Exchange, request: wire.Request) -> str | None:
    """The conversation a request belongs to, as far as the client tells: from its header or its user id."""
    header = exchange.header("x-claude-code-session-id")
    if header:
        return header[:256]
    user = request.metadata.user_id if request.metadata else None
    if not user:
        return None
    if user.startswith("{"):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            inside = msgspec.json.decode(user.encode("utf-8", "replace"))
            session = inside.get("session_id") if isinstance(inside, dict) else None
            return session[:256] if isinstance(session, str) and session else None
        return None
    found = _SESSION.search(user)
    return found[1][:256] if found else None
