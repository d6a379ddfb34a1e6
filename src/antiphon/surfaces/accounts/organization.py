"""The part of the Admin API that a server of one's own has something to say to: its keys, and reports of usage. All of
it is for the operator alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, UnsetType

from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.keys import Key, is_name
from antiphon.api.errors import BadRequest
from antiphon.serving.service import Service
from antiphon.surfaces.accounts.store_access import change_keys, usage_cells, with_keys
from antiphon.surfaces.accounts.usage_report import PARAMETERS, Report, messages_report, read, timestamp
from antiphon.surfaces.anthropic import failures, pages
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface

T = TypeVar("T")

_Status = Literal["active", "archived", "expired", "inactive"]
_STATUSES = {"active": "active", "expired": "expired", "revoked": "archived"}
"""Our words and the API's for how it is with a key."""
_LARGEST = 1 << 16
_KIND = "API key"


class Organization(msgspec.Struct, frozen=True):
    """Whose server it is."""

    id: str = "org_local"
    name: str = "antiphon"
    type: Literal["organization"] = "organization"


class Scope(msgspec.Struct, frozen=True):
    """Where a key belongs: to the whole server."""

    type: Literal["organization"] = "organization"


class ApiKey(msgspec.Struct, kw_only=True):
    """A key, without its secret."""

    id: str
    type: Literal["api_key"] = "api_key"
    name: str
    status: str
    partial_key_hint: str
    created_at: str
    created_by: None = None
    expires_at: str | None
    principal: None = None
    scope: Scope = Scope()
    workspace_id: None = None


class ApiKeyPage(msgspec.Struct):
    """Some of the keys, in the order in which they were added."""

    data: list[ApiKey]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ApiKeyChange(msgspec.Struct):
    """What to change of a key: its name, or its status, which can only become `archived`, for good."""

    name: str | UnsetType | None = UNSET
    status: Literal["active", "archived", "inactive"] | UnsetType | None = UNSET


_change = msgspec.json.Decoder(ApiKeyChange)


class _Organization:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._accounts = options.accounts

    async def me(self, exchange: Exchange) -> None:
        await exchange.reply(200, msgspec.json.encode(Organization()))

    async def keys(self, exchange: Exchange) -> None:
        status = exchange.query.get("status")
        if status is not None and status not in get_args(_Status):
            raise BadRequest(f"status: Input should be one of {', '.join(get_args(_Status))}")
        found = [_described(key) for key in await self._with_keys(lambda store: [] if store.untouched else store.all())]
        nobody = any(exchange.query.get(each.name) for each in _OF_OTHERS)
        mine = [key for key in found if status in (None, key.status) and not nobody]
        places, more = pages.cut([key.id for key in mine], exchange.query, usual="20", kind=_KIND)
        data = [mine[place] for place in places]
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        await exchange.reply(200, msgspec.json.encode(ApiKeyPage(data, more, first, last)))

    async def key(self, exchange: Exchange) -> None:
        found = await self._with_keys(lambda store: store.find(exchange.rest))
        await exchange.reply(200, msgspec.json.encode(_described(found)))

    async def change(self, exchange: Exchange) -> None:
        self._accounts.require_admin(exchange.watch.key)
        change, _ = json_body.read(await exchange.body(_LARGEST), _change)
        if change.status == "inactive":
            raise BadRequest("status: a key cannot be inactive here; archive it, which cannot be undone")
        rights = {"name": change.name} if change.name else {}
        if change.name and not is_name(change.name):
            raise BadRequest(
                "name: it may not begin or end with whitespace, or contain characters that cannot be printed"
            )

        def work(store: KeyStore) -> Key:
            key = store.find(exchange.rest)
            if change.status == "active" and key.revoked is not None:
                raise BadRequest("status: an archived key stays archived; add another one")
            key = store.change(key.label, **rights) if rights else key
            return store.revoke(key.label) if change.status == "archived" and key.revoked is None else key

        changed = await change_keys(self._accounts, work, called=_KIND)
        await exchange.reply(200, msgspec.json.encode(_described(changed)))

    async def usage(self, exchange: Exchange) -> None:
        query = read(exchange.queries, self._options.clock())
        cells = await usage_cells(self._accounts, query.since, query.until)
        await exchange.reply(200, msgspec.json.encode(messages_report(query, cells)))

    async def _with_keys(self, work: Callable[[KeyStore], T]) -> T:
        return await with_keys(self._accounts, work, called=_KIND)


def _described(key: Key) -> ApiKey:
    return ApiKey(
        id=key.id,
        name=key.name,
        status=_STATUSES[key.status(time.time())],
        partial_key_hint=key.hint,
        created_at=timestamp(key.created),
        expires_at=None if key.expires is None else timestamp(key.expires),
    )


_STATUS = Parameter("status", "query", "List only keys with this status.", _Status)
_OF_OTHERS = (
    Parameter("workspace_id", "query", "List only keys of this workspace: none, for there are no workspaces here."),
    Parameter("created_by_user_id", "query", "List only keys of this user: none, for there are no users here."),
)
_ID = (Parameter("api_key_id", "path", "Its id.", required=True),)
_ONE = {"application/json": ApiKey}


def _routes(service: Service, options: Options) -> list[Route]:
    here = _Organization(options)
    keys, report = "/organizations/api_keys", "/organizations/usage_report/messages"
    me = Operation(summary="Retrieve the organization of the server", replies={"application/json": Organization})
    listed = Operation(
        summary="List the managed keys",
        replies={"application/json": ApiKeyPage},
        parameters=(_STATUS, *_OF_OTHERS, *pages.PARAMETERS),
    )
    one = Operation(summary="Retrieve a managed key", replies=_ONE, parameters=_ID, rest="api_key_id")
    change = Operation(
        summary="Rename or archive a managed key", body=ApiKeyChange, replies=_ONE, parameters=_ID, rest="api_key_id"
    )
    usage = Operation(
        summary="Report usage, in buckets of time", replies={"application/json": Report}, parameters=PARAMETERS
    )
    return [
        Route(method="GET", path="/organizations/me", answer=here.me, operator=True, operation=me),
        Route(method="GET", path=keys, answer=here.keys, operator=True, operation=listed),
        Route(method="GET", path=f"{keys}/*", answer=here.key, operator=True, operation=one),
        Route(method="POST", path=f"{keys}/*", answer=here.change, operator=True, operation=change),
        Route(method="GET", path=report, answer=here.usage, operator=True, operation=usage),
    ]


SURFACE = Surface(
    name="organization",
    routes=_routes,
    failures=failures.FAILURES,
)
