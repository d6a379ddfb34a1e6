"""Keys in the store. What of a key opens the server is there as a hash only.

Each change gives the key the next revision, so that workers ask for what is newer than what they know: a look costs
them one row of an index, however many keys there are.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    update,
)

from antiphon.accounts.keys import Allowance, Key, Secret, hint, new_secret
from antiphon.settings.keys import hashed
from antiphon.storage.records import Records, TableSet

_LABEL = 12
"""Digits of a label: four more than those of keys from the settings have, so that none is the same."""

_METADATA = MetaData()
_KEYS = Table(
    "api_keys",
    _METADATA,
    Column("label", Text, primary_key=True),
    Column("number", Integer, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("allowance", Text, nullable=False),
    Column("budget", BigInteger, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("expires", Float(53)),
    Column("revoked", Float(53)),
    Column("revision", BigInteger, nullable=False),
    Index("api_keys_revision", "revision"),
    Index("api_keys_name", "name"),
)
_SECRETS = Table(
    "api_key_secrets",
    _METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("label", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("expires", Float(53)),
    Index("api_key_secrets_label", "label"),
)
_REVISION = Table("api_key_revision", _METADATA, Column("number", BigInteger, nullable=False))
TABLES = TableSet("api_keys", 1, _METADATA)


class NameTaken(Exception):
    """A key of this name is in use."""


class UnknownKey(Exception):
    """There is no key of this name, label or id."""


class KeyStore:
    """The keys in a store's records. Everything raises OSError where that does not work. It is for threads: whoever
    must not wait calls it in one."""

    def __init__(self, records: Records) -> None:
        self._records = records

    @property
    def untouched(self) -> bool:
        """Whether there never was a key."""
        return not self._records.keeps(TABLES)

    def add(self, name: str, *, now: float | None = None, **rights: Any) -> tuple[Key, str]:
        """A new key, and its secret, which is kept nowhere. `rights` are the fields of a `Key`. Raises NameTaken."""
        secret = new_secret(admin=rights.get("admin", False))
        digest, now = hashed(secret), time.time() if now is None else now
        label, first = digest.hex()[:_LABEL], Secret(digest, hint(secret))

        def work(connection: Connection) -> Key:
            revision = _next_revision(connection)
            if _named(connection, name, usable=True):
                raise NameTaken(name)
            number = (connection.scalar(select(func.max(_KEYS.c.number))) or 0) + 1
            key = Key(label=label, number=number, name=name, secrets=(first,), created=now, **rights)
            connection.execute(insert(_KEYS).values(**_row(key), revision=revision))
            _add_secret(connection, label, first, now)
            return key

        return self._records.run(TABLES, work), secret

    def rotate(self, named: str, *, overlap: float = 0.0) -> tuple[Key, str]:
        """Give a key a new secret; those before it open the server for `overlap` more seconds. Raises UnknownKey."""
        now = time.time()

        def work(connection: Connection) -> tuple[Key, str]:
            key = _one(connection, named)
            secret = new_secret(admin=key.admin)
            mine, until = _SECRETS.c.label == key.label, now + overlap
            connection.execute(delete(_SECRETS).where(mine, _SECRETS.c.expires <= now))
            later = (_SECRETS.c.expires.is_(None)) | (_SECRETS.c.expires > until)
            connection.execute(update(_SECRETS).where(mine, later).values(expires=until))
            _add_secret(connection, key.label, Secret(hashed(secret), hint(secret)), now)
            connection.execute(_changed(connection, key.label))
            return _one(connection, key.label), secret

        return self._records.run(TABLES, work)

    def change(self, named: str, **rights: Any) -> Key:
        """Give a key other rights, or another name. Raises UnknownKey and NameTaken."""

        def work(connection: Connection) -> Key:
            key = _one(connection, named)
            other = rights.get("name", key.name)
            if other != key.name and _named(connection, other, usable=True):
                raise NameTaken(other)
            changed = msgspec.structs.replace(key, **rights)
            connection.execute(_changed(connection, key.label).values(**_row(changed)))
            return changed

        return self._records.run(TABLES, work)

    def revoke(self, named: str) -> Key:
        """Let a key open nothing any more, for good. Its record stays, for the usage that bears its label. Raises
        UnknownKey."""
        return self.change(named, revoked=time.time())

    def find(self, named: str) -> Key:
        """The key of this name, label or id; of several that had the name, the one in use, or else the newest. Raises
        UnknownKey."""
        return self._records.run(TABLES, lambda connection: _one(connection, named), writes=False)

    def all(self) -> list[Key]:
        """All keys, in the order in which they were added."""
        return sorted(self.changes(-1)[1], key=lambda key: key.number)

    def changes(self, revision: int) -> tuple[int, list[Key]]:
        """The newest revision, and the keys that were changed since another (-1: all)."""

        def work(connection: Connection) -> tuple[int, list[Key]]:
            newest = connection.scalar(select(func.max(_KEYS.c.revision))) or 0
            if newest <= revision:
                return revision, []
            return newest, _keys(connection, _KEYS.c.revision > revision)

        return self._records.run(TABLES, work, writes=False)


def _next_revision(connection: Connection) -> int:
    """The next revision. Whoever has it holds its row until the end of the transaction, so that revisions become
    visible in their order."""
    if not connection.execute(update(_REVISION).values(number=_REVISION.c.number + 1)).rowcount:
        connection.execute(insert(_REVISION).values(number=1))
    return int(connection.scalar(select(_REVISION.c.number)) or 0)


def _changed(connection: Connection, label: str) -> Any:
    return update(_KEYS).where(_KEYS.c.label == label).values(revision=_next_revision(connection))


def _add_secret(connection: Connection, label: str, secret: Secret, now: float) -> None:
    connection.execute(insert(_SECRETS).values(**msgspec.structs.asdict(secret), label=label, created=now))


def _named(connection: Connection, name: str, *, usable: bool = False) -> list[Key]:
    found = _keys(connection, _KEYS.c.name == name)
    return [key for key in found if key.revoked is None] if usable else found


def _one(connection: Connection, named: str) -> Key:
    label = named.removeprefix("apikey_")
    matches = _keys(connection, _KEYS.c.label == label) or _named(connection, named)
    if not matches:
        raise UnknownKey(named)
    return max(matches, key=lambda key: (key.revoked is None, key.number))


def _keys(connection: Connection, which: Any) -> list[Key]:
    secrets: dict[str, list[Secret]] = {}
    columns = (_SECRETS.c.label, _SECRETS.c.digest, _SECRETS.c.hint, _SECRETS.c.expires)
    mine = select(*columns).join(_KEYS, _KEYS.c.label == _SECRETS.c.label).where(which).order_by(_SECRETS.c.created)
    for label, *parts in connection.execute(mine):
        secrets.setdefault(label, []).append(Secret(*parts))
    return [_key(row, secrets.get(row.label, ())) for row in connection.execute(select(_KEYS).where(which))]


def _key(row: Row[Any], secrets: Iterable[Secret]) -> Key:
    fields = {name: getattr(row, name) for name in Key.__struct_fields__ if name != "secrets"}
    fields["models"] = msgspec.json.decode(row.models, type=tuple[str, ...])
    fields["allowance"] = msgspec.json.decode(row.allowance, type=Allowance)
    return Key(**fields, secrets=tuple(secrets))


def _row(key: Key) -> dict[str, Any]:
    values = {name: getattr(key, name) for name in Key.__struct_fields__ if name != "secrets"}
    return values | {"models": _json(key.models), "allowance": _json(key.allowance)}


def _json(value: Sequence[str] | Allowance) -> str:
    return msgspec.json.encode(value).decode()
