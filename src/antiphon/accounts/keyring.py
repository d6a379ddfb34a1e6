"""The keys that a worker lets in: those of the settings, and those in the store, as they are now."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence

from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.keys import Key, Secret
from antiphon.settings.keys import hashed, label

log = logging.getLogger("antiphon")

LOOK = 0.5
"""Seconds between two looks at the store: a change is in force everywhere within the second."""


class Keyring:
    """The keys, by what they are recognised by and by their labels. `digests` are those of the settings. With `open`, a
    request needs none. Finding one takes a hash and a look into a table, however many there are; that the table
    compares in its own time tells nobody anything, because what it compares are hashes."""

    def __init__(
        self, digests: Sequence[bytes] = (), *, open: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        self.unread = ""
        """Why the keys of the store are not known, as long as they never were."""
        self._open = open
        self._clock = clock
        self._revision = -1
        self._managed = False
        self._fixed = len(digests)
        self._by_digest: dict[bytes, tuple[Key, Secret]] = {}
        self._by_label: dict[str, Key] = {}
        self.take(
            Key(label=label(digest), number=number, secrets=(Secret(digest),))
            for number, digest in enumerate(dict.fromkeys(digests), 1)
        )

    @property
    def required(self) -> bool:
        """Whether a request needs a key. A server whose last key was revoked does not open by that."""
        return not self._open and bool(self._by_label or self._managed or self.unread)

    def find(self, presented: str) -> Key | None:
        """The key whose secret was presented. It may be one that opens nothing any more."""
        entry = self._by_digest.get(hashed(presented))
        if entry is None:
            return None
        key, secret = entry
        return key if secret.expires is None or secret.expires > self._clock() else None

    def get(self, label: str) -> Key | None:
        """The key of a label."""
        return self._by_label.get(label)

    def place(self, label: str) -> int:
        """The number of a key among all: first those of the settings, then those of the store; 0 for none of them."""
        key = self._by_label.get(label)
        if key is None:
            return 0
        return key.number + (self._fixed if key.name else 0)

    def status(self, key: Key) -> str:
        """Whether a key may be used now."""
        return key.status(self._clock())

    async def load(self, store: KeyStore) -> None:
        """Take in what was changed since the last time. Where the store cannot be read, all stays as it is."""
        try:
            revision, changed = await asyncio.to_thread(_changes, store, self._revision)
        except OSError as error:
            if self._revision < 0:
                self.unread = str(error)
            raise
        self.unread = ""
        if revision < self._revision:
            # Somebody who asked later was answered first, and knows newer keys.
            return
        self.take(changed)
        self._managed = self._managed or bool(changed)
        self._revision = revision

    async def follow(self, store: KeyStore) -> None:
        """Take in all changes, until cancelled."""
        failing = False
        while True:
            try:
                await self.load(store)
                failing = False
            except OSError as error:
                if not failing:
                    log.warning("the store cannot be read, so the keys stay as they were: %s", error)
                failing = True
            await asyncio.sleep(LOOK)

    def take(self, keys: Iterable[Key]) -> None:
        """Take in keys, each in the place of what was known by its label."""
        for key in keys:
            if before := self._by_label.get(key.label):
                for secret in before.secrets:
                    self._by_digest.pop(secret.digest, None)
            self._by_label[key.label] = key
            for secret in key.secrets:
                self._by_digest[secret.digest] = key, secret


def _changes(store: KeyStore, revision: int) -> tuple[int, list[Key]]:
    return (revision, []) if store.untouched else store.changes(revision)
