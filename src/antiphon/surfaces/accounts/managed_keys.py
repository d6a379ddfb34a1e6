"""The keys of a server: listed, added, changed, exchanged, revoked."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import UNSET, Meta, UnsetType

from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.keys import Allowance, Key, Status, is_name
from antiphon.api.errors import BadRequest
from antiphon.surfaces.accounts.store_access import change_keys, with_keys
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.request_headers import check_media_type
from antiphon.surfaces.surface import Operation, Options, Parameter, Route

T = TypeVar("T")

Count = Annotated[int, Meta(ge=0, le=10**15)]
_LARGEST = 1 << 16
_LATEST = 1 << 36
"""The latest time at which a key may expire, in the year 4147: there is one that no date can be made of."""
_LONGEST_OVERLAP = 366 * 24 * 3600


class Limits(msgspec.Struct, kw_only=True):
    """The most of each in a minute; 0: as much as the server allows every key."""

    requests: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    tool_calls: Count = 0


class Change(msgspec.Struct, kw_only=True):
    """What a key may do from now on; what is left out stays. `models` are names or patterns (none: all), `budget` is
    tokens a calendar month (0: any number)."""

    name: str | UnsetType = UNSET
    models: list[json_body.Name] | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    budget: Count | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    admin: bool | UnsetType = UNSET


class Addition(Change, kw_only=True):
    """A key that is to be."""

    name: str


class Exchanged(msgspec.Struct):
    """How long the secret before this one still opens the server, in seconds."""

    overlap: Annotated[int, Meta(ge=0, le=_LONGEST_OVERLAP)] = 0


class ManagedKey(msgspec.Struct, kw_only=True):
    """A key without its secret. `label` is what it is called in the log and in usage, `hint` the ends of the secret."""

    label: str
    name: str
    hint: str
    status: Status
    created_at: datetime
    expires_at: datetime | None
    models: list[str]
    limits: Limits
    budget: int
    admin: bool


class KeyList(msgspec.Struct):
    """All keys in the order in which they were added, also those that were revoked."""

    data: list[ManagedKey]


class NewSecret(msgspec.Struct):
    """A key with its secret, which is nowhere else and told only now."""

    secret: str
    key: ManagedKey


_addition = msgspec.json.Decoder(Addition)
_change = msgspec.json.Decoder(Change)
_exchanged = msgspec.json.Decoder(Exchanged)


def described(key: Key) -> ManagedKey:
    """A key as it is told."""
    return ManagedKey(
        label=key.label,
        name=key.name,
        hint=key.hint,
        status=key.status(time.time()),
        created_at=_moment(key.created),
        expires_at=None if key.expires is None else _moment(key.expires),
        models=list(key.models),
        limits=Limits(**msgspec.structs.asdict(key.allowance)),
        budget=key.budget,
        admin=key.admin,
    )


class ManagedKeys:
    """The keys in the store. Whoever changes one has it in force here at once, and elsewhere within the second."""

    def __init__(self, options: Options) -> None:
        self._accounts = options.accounts

    async def all(self, exchange: Exchange) -> None:
        found = await with_keys(self._accounts, lambda store: [] if store.untouched else store.all(), called="key")
        await exchange.reply(200, msgspec.json.encode(KeyList([described(key) for key in found])))

    async def add(self, exchange: Exchange) -> None:
        wanted = await self._read(exchange, _addition)
        rights = _rights(wanted)
        key, secret = await self._changed(lambda store: store.add(rights.pop("name"), **rights))
        await exchange.reply(200, msgspec.json.encode(NewSecret(secret, described(key))))

    async def change(self, exchange: Exchange) -> None:
        rights = _rights(await self._read(exchange, _change))
        label = unquote(exchange.rest)
        key = await self._changed(lambda store: store.change(label, **rights) if rights else store.find(label))
        await exchange.reply(200, msgspec.json.encode(described(key)))

    async def rotate(self, exchange: Exchange) -> None:
        wanted = await self._read(exchange, _exchanged)
        label = unquote(exchange.rest)
        key, secret = await self._changed(lambda store: store.rotate(label, overlap=wanted.overlap))
        await exchange.reply(200, msgspec.json.encode(NewSecret(secret, described(key))))

    async def revoke(self, exchange: Exchange) -> None:
        self._accounts.require_admin(exchange.watch.key)
        label = unquote(exchange.rest)
        key = await self._changed(lambda store: store.revoke(label))
        await exchange.reply(200, msgspec.json.encode(described(key)))

    async def _read(self, exchange: Exchange, decoder: msgspec.json.Decoder[T]) -> T:
        self._accounts.require_admin(exchange.watch.key)
        check_media_type(exchange)
        return json_body.read(await exchange.body(_LARGEST) or b"{}", decoder)[0]

    async def _changed(self, work: Callable[[KeyStore], T]) -> T:
        return await change_keys(self._accounts, work, called="key")

    def routes(self) -> list[Route]:
        """The routes, all of them for the operator."""
        label = (Parameter("label", "path", "The label of the key.", required=True),)
        one, secret = {"application/json": ManagedKey}, {"application/json": NewSecret}
        listed = Operation(summary="List the keys and what each may do", replies={"application/json": KeyList})
        added = Operation(summary="Add a key; its secret is shown only here", body=Addition, replies=secret)
        changed = Operation(
            summary="Change what a key may do", body=Change, replies=one, parameters=label, rest="label"
        )
        rotated = Operation(
            summary="Exchange the secret of a key", body=Exchanged, replies=secret, parameters=label, rest="label"
        )
        revoked = Operation(summary="Revoke a key permanently", replies=one, parameters=label, rest="label")
        table: tuple[tuple[Literal["GET", "POST"], str, Any, Operation], ...] = (
            ("GET", "/keys", self.all, listed),
            ("POST", "/keys", self.add, added),
            ("POST", "/keys/*", self.change, changed),
            ("POST", "/keys/*/rotate", self.rotate, rotated),
            ("POST", "/keys/*/revoke", self.revoke, revoked),
        )
        return [
            Route(method=method, path=path, answer=answer, operator=True, operation=operation)
            for method, path, answer, operation in table
        ]


def _rights(changes: Change) -> dict[str, Any]:
    """What is named, as fields of a `Key`. Raises BadRequest."""
    fields = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
    if "name" in fields and not is_name(fields["name"]):
        raise BadRequest(
            "name: it may not be empty, begin or end with whitespace, or contain characters that cannot be printed"
        )
    if "models" in fields:
        fields["models"] = tuple(fields["models"])
    if "limits" in fields:
        fields["allowance"] = Allowance(**msgspec.structs.asdict(fields.pop("limits")))
    if "expires_at" in fields:
        fields["expires"] = _seconds(fields.pop("expires_at"))
    return fields


def _seconds(moment: datetime | None) -> float | None:
    if moment is None:
        return None
    seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    if not 0 <= seconds <= _LATEST:
        raise BadRequest("expires_at: it must be a time between 1970 and 4147")
    return seconds


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
