"""The accounts of a server as a worker has them: its keys, and what is kept of their use."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from antiphon.accounts.budgets import Budgets
from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.keyring import Keyring
from antiphon.accounts.ledger import Ledger
from antiphon.accounts.usage_store import UsageStore
from antiphon.api.errors import Forbidden
from antiphon.storage.records import Records
from antiphon.storage.repeating import repeat

log = logging.getLogger("antiphon")


class Accounts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The keys that are let in, where they are managed, the usage that is kept, what it is entered in, and what is left
    of budgets. Without a store there are only the keys of the settings, and nothing is kept."""

    keys: Keyring = msgspec.field(default_factory=Keyring)
    key_store: KeyStore | None = None
    usage: UsageStore | None = None
    ledger: Ledger | None = None
    budgets: Budgets | None = None

    def require_admin(self, label: str) -> None:
        """Raise Forbidden unless the key of this label is an admin's. A server that asks for no key may show everybody
        what is used, but nobody can make himself its master there."""
        key = self.keys.get(label)
        if key is None or not key.admin:
            raise Forbidden("this key may not change keys: use an admin's key (antiphon keys add NAME --admin)")

    def sees_all(self, label: str) -> bool:
        """Whether whoever has the key of this label (empty: none) may see what all use."""
        key = self.keys.get(label)
        return not self.keys.required or (key is not None and key.admin)

    def tend(self) -> list[Coroutine[Any, Any, None]]:
        """The work that goes on beside the requests: taking in changes of keys, adding up what is used."""
        tended: list[Coroutine[Any, Any, None]] = []
        if self.key_store is not None:
            follow = partial(self.keys.follow, self.key_store)
            tended.append(repeat(follow, "changes of keys cannot be taken in for now"))
        if self.ledger is not None:
            tended.append(repeat(self.ledger.tend, "usage cannot be added up for now"))
        return tended

    async def close(self) -> None:
        """Add up what is left."""
        if self.ledger is not None:
            await self.ledger.close()


async def open_accounts(
    records: Records | None, digests: Sequence[bytes], journals: Path, *, open: bool = False
) -> Accounts:
    """The accounts in a database, as far as it can be read, and the keys of the settings by their `digests`. Workers
    keep their journals in one folder. With `open`, requests need no key."""
    keys = Keyring(digests, open=open)
    if records is None:
        return Accounts(keys=keys)
    key_store, usage = KeyStore(records), UsageStore(records)
    try:
        await keys.load(key_store)
    except OSError as error:
        log.warning("the keys in the store cannot be read: %s", error)
    ledger = Ledger(usage, journals)
    budgets = Budgets(keys, usage, ledger)
    return Accounts(keys=keys, key_store=key_store, usage=usage, ledger=ledger, budgets=budgets)
