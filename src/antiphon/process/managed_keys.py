"""The keys that the store of a server has, for whoever starts it or looks at it."""

from __future__ import annotations

from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.keys import Key
from antiphon.settings.sources import Settings
from antiphon.storage.records import Records


def managed_keys(settings: Settings) -> list[Key]:
    """All of them, also those that were revoked. Raises OSError, and ValueError for a store that is none."""
    records = Records(settings.records)
    try:
        key_store = KeyStore(records)
        return [] if key_store.untouched else key_store.all()
    finally:
        records.close()
