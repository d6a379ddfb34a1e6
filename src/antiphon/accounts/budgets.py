"""What keys may spend in a calendar month (UTC): tokens that the engine computes, so those that come from the cache are
free. A request is let in as long as anything is left; what runs is not counted before it is over."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from antiphon.accounts.keyring import Keyring
from antiphon.accounts.ledger import Ledger
from antiphon.accounts.usage_store import UsageStore
from antiphon.api.errors import BudgetSpent

log = logging.getLogger("antiphon")

_AGE = 1.0
"""Seconds for which what the store said is good: other workers add to it about as often."""


class _Known(msgspec.Struct, frozen=True):
    """What the store said of a key: the month's tokens, the month, when (monotonic seconds), and how many tokens this
    worker had committed by then."""

    tokens: int
    month: int
    read: float
    committed: int


class Standing(msgspec.Struct, frozen=True):
    """What of a month's budget is spent, in tokens, and when the month begins and ends."""

    budget: int
    spent: int
    begin: datetime
    end: datetime


class Budgets:
    """The budgets of keys, and what is spent of them."""

    def __init__(
        self, keys: Keyring, store: UsageStore, ledger: Ledger, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def standing(self, label: str) -> Standing | None:
        """How it is with a key's budget now; None where it has none."""
        key = self._keys.get(label)
        if key is None or not key.budget:
            return None
        begin, end = _month(datetime.fromtimestamp(self._clock(), UTC))
        return Standing(key.budget, await self._spent(label, int(begin.timestamp())), begin, end)

    async def check(self, label: str) -> None:
        """Raise BudgetSpent for a key that has nothing left."""
        standing, key = await self.standing(label), self._keys.get(label)
        if standing and key and standing.spent >= standing.budget:
            raise BudgetSpent(
                f"the key {key.name!r} has spent {standing.spent} of its {standing.budget} tokens for "
                f"{standing.begin:%B %Y}; its budget starts again at {standing.end:%Y-%m-%dT%H:%M:%SZ}, or when the "
                "operator of this server raises it"
            )

    async def _spent(self, label: str, month: int) -> int:
        known = self._known.get(label)
        if known is None or known.month != month or time.monotonic() - known.read > _AGE:
            committed = self._ledger.committed[label]
            try:
                tokens = await asyncio.to_thread(self._store.spent, label, month)
            except OSError as error:
                log.warning("what the key %s has spent cannot be read: %s", label, error)
                tokens = known.tokens if known and known.month == month else 0
                committed = known.committed if known and known.month == month else 0
            known = self._known[label] = _Known(tokens, month, time.monotonic(), committed)
        return known.tokens + self._ledger.entered[label] - known.committed


def _month(now: datetime) -> tuple[datetime, datetime]:
    """When the month of a time begins and ends."""
    begin = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
