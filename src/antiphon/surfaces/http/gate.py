"""The gate every request passes: host names, spelling of the path, browser origins, keys, and the envelope of failures.

It is one plain ASGI application over a table of routes. A response middleware would stand between a stream
and its socket; this does not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from starlette.types import Receive, Scope, Send

from antiphon.accounts.keys import Key
from antiphon.api.errors import (
    Failure,
    Forbidden,
    Internal,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Unauthenticated,
)
from antiphon.observability import metrics, request_log, request_watch
from antiphon.surfaces.http import cors, hosts
from antiphon.surfaces.http.charge import Charge
from antiphon.surfaces.http.exchange import ClientGone, Exchange
from antiphon.surfaces.http.labels import read_label
from antiphon.surfaces.http.turns import Turns
from antiphon.surfaces.surface import Options, Rendered, Route

log = logging.getLogger("antiphon.http")

Envelope = Callable[[Failure, str], Rendered]


class Placed:
    """A route and the envelope of the surface it belongs to."""

    __slots__ = ("envelope", "route", "surface")

    def __init__(self, route: Route, envelope: Envelope, surface: str = "") -> None:
        self.route = route
        self.envelope = envelope
        self.surface = surface


def canonical(path: str) -> tuple[str, bool]:
    """The one spelling of a path, and whether it was below `/anthropic`.

    Users give clients a base URL with and without `/v1`, clients add their own: `/messages`, `/v1/v1/messages`,
    `/v1//messages`, `/anthropic/v1/messages/` all mean `/messages`.
    """
    first, _, rest = (path := path.strip("/")).partition("/")
    if below := first == "anthropic":
        path = rest.lstrip("/")
    while path == "v1" or path.startswith("v1/"):
        path = path[len("v1") :].lstrip("/")
    return "/" + path, below


class Gate:
    """The ASGI application: finds the route, lets in who may, and answers every failure in its envelope."""

    def __init__(self, placed: Sequence[Placed], fallback: Envelope, options: Options) -> None:
        self._options = options
        self._fallback = fallback
        self._turns = Turns()
        self._exact: dict[str, dict[str, Placed]] = {}
        below: dict[str, dict[str, Placed]] = {}
        for each in placed:
            path = each.route.path
            methods = (below if "*" in path else self._exact).setdefault(path, {})
            if methods.setdefault(each.route.method, each) is not each:
                raise ValueError(f"two surfaces answer {each.route.method} {path}")
        # What says more of a path comes first.
        longest_first = sorted(below, key=lambda path: len(path.replace("*", "")), reverse=True)
        self._below = [
            (re.compile(re.escape(path).replace(r"\*", "(.+)"), re.S), below[path]) for path in longest_first
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        exchange = Exchange(scope, receive, send, self._options.new_id("req_"))
        exchange.leaving = self._options.leaving
        batched = exchange.batch.id if exchange.batch else ""
        exchange.charge = Charge(self._options.accounts.ledger, exchange.watch, batched, self._options.clock)
        request_watch.watched.set(exchange.watch)
        read_label(exchange)
        envelope, quiet, surface, route, client_gone = self._fallback, False, "", "", False
        try:
            hosts.refuse_unknown(exchange, self._options)
            if await cors.answered(exchange, self._options):
                return
            here = self._find(exchange)
            envelope, quiet, surface, route = here.envelope, here.route.quiet, here.surface, here.route.path
            if exchange.batch is not None:
                exchange.watch.key = exchange.batch.owner
                self._refuse_unusable(self._options.accounts.keys.get(exchange.batch.owner))
            elif not here.route.open:
                self._check_key(exchange, here.route)
                exchange.late = partial(self._allowance, exchange)
            await self._turns.take()
            await here.route.answer(exchange)
        except ClientGone:
            client_gone = True
            exchange.facts["problem"] = "the client went away"
        except Failure as failure:
            exchange.facts["problem"] = failure.message
            await self._tell(exchange, envelope, failure)
        except Exception:
            log.exception("%s %s %s failed", exchange.request_id, exchange.method, exchange.path)
            await self._tell(exchange, envelope, Internal("Internal server error"))
        finally:
            if not exchange.charge.postponed:
                exchange.charge.end(client_gone=client_gone)
            if not quiet:
                self._note(exchange, route)
                metrics.count(exchange.watch, surface=surface, status=exchange.status, client_gone=client_gone)

    def _find(self, exchange: Exchange) -> Placed:
        exchange.path, exchange.anthropic = canonical(exchange.path)
        methods = self._exact.get(exchange.path)
        if methods is None:
            for pattern, table in self._below:
                if found := pattern.fullmatch(exchange.path):
                    methods, exchange.wildcards = table, found.groups()
                    break
        if methods is None:
            raise NotFound(
                f"Not found: {exchange.method} {exchange.scope['path']}. "
                "The Messages API of this server is at POST /v1/messages."
            )
        placed = methods.get("GET" if exchange.method == "HEAD" else exchange.method)
        if placed is None:
            allowed = ", ".join(sorted(methods))
            exchange.extra.append((b"allow", allowed.encode()))
            raise MethodNotAllowed(f"Method {exchange.method} is not allowed here; use {allowed}")
        return placed

    def _check_key(self, exchange: Exchange, route: Route) -> None:
        keys, presented = self._options.accounts.keys, _presented(exchange)
        # Some clients send a stale x-api-key beside the right bearer token: either one will do.
        matches = [key for candidate in presented.values() if (key := keys.find(candidate))]
        usable = next((key for key in matches if keys.status(key) == "active"), None)
        if usable is not None:
            exchange.watch.key = usable.label
        elif matches:
            self._refuse_unusable(matches[0])
        elif keys.required:
            self._refuse(presented)
        elif self._options.local_only and not _is_loopback(exchange.scope.get("server")):
            raise Unauthenticated(
                "this server has no keys, so it answers only programs on its own machine; its operator can add keys, "
                "or let everybody in (no_auth)"
            )
        if route.operator and keys.required and not (usable and usable.admin):
            raise Forbidden("only the operator may do this: use an admin's key (antiphon keys add NAME --admin)")

    def _refuse_unusable(self, key: Key | None) -> None:
        """Raise for a key that was revoked or has expired."""
        if key is not None and (status := self._options.accounts.keys.status(key)) != "active":
            how = "was revoked" if status == "revoked" else "has expired"
            raise Unauthenticated(f"the API key {key.name!r} {how}; ask the operator of this server for another one")

    def _refuse(self, presented: Mapping[str, str]) -> None:
        """Raise for a key that is none of ours, or for none."""
        if unread := self._options.accounts.keys.unread:
            raise Overloaded(f"the keys of this server cannot be read now: {unread}", retry_after=5)
        if "x-api-key" in presented:
            raise Unauthenticated("invalid x-api-key")
        raise Unauthenticated("Invalid bearer token" if presented else "x-api-key header is required")

    def _allowance(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """What the key may still use, on the answers to requests that use any of it."""
        rate_limiter = self._options.rate_limiter
        return rate_limiter.headers(exchange.watch.key) if rate_limiter and exchange.watch.model else []

    async def _tell(self, exchange: Exchange, envelope: Envelope, failure: Failure) -> None:
        rendered = envelope(failure, exchange.request_id)
        if not exchange.started:
            await exchange.reply(rendered.status, rendered.body, rendered.headers)

    def _note(self, exchange: Exchange, route: str) -> None:
        """One line for each request: what was asked, how it went, how long it took, what it used; and its trace."""
        head = {
            "id": exchange.request_id,
            "method": exchange.method,
            "path": exchange.scope["path"],
            "status": exchange.status,
            "seconds": exchange.watch.end(),
        }
        facts = {**exchange.facts, **exchange.watch.facts()}
        trace = self._options.trace
        if trace and (told := trace(exchange.watch, route, {**head, **facts}, exchange.headers)):
            facts["trace_id"] = told
        level = logging.WARNING if exchange.status >= 500 else logging.INFO
        request_log.write(log, level, head, facts)


def _presented(exchange: Exchange) -> dict[str, str]:
    """The keys that came with a request, by the header that held them."""
    key = exchange.header("x-api-key")
    scheme, _, bearer = (exchange.header("authorization") or "").partition(" ")
    bearer = bearer.strip() if scheme.lower() == "bearer" else ""
    return {name: value for name, value in (("x-api-key", key), ("authorization", bearer)) if value}


def _is_loopback(server: tuple[str, int | None] | None) -> bool:
    """Whether a connection came in by an address that other machines cannot reach."""
    address = hosts.address(server[0]) if server else None
    return address is not None and address.is_loopback


async def _lifespan(receive: Receive, send: Send) -> None:
    """Take part in the server's life cycle with nothing to do, for when no outer application does."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
