"""Where a worker enters what each request used, before the reply's end is told.

An entry is a line in the worker's journal, a file of its own in the state folder: a line that was written outlives the
worker, however it ends. About once a second what is new there is added to the store. A worker that starts takes over
the journals of those that died. A loss of power may take the last second with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from antiphon.accounts.usage import Entry
from antiphon.accounts.usage_store import UsageStore
from antiphon.storage import files
from antiphon.storage.lines import Lines
from antiphon.storage.locks import try_lock

log = logging.getLogger("antiphon")

INTERVAL = 1.0
"""Seconds between two times that what is new is added to the store."""
_LONGEST = 1 << 20
"""Bytes after which a journal that was added gives way to a new one."""


class Journal:
    """A file of entries that its owner holds a lock on. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            self.path = folder / f"{secrets.token_hex(8)}.lines"
            self._lines = Lines(self.path)
            lock = _locked(self.path)
            if lock is not None:
                self._lock = lock
                return
            # Somebody took it for one that was left behind.
            self._lines.close()

    def add(self, entry: Entry) -> None:
        """Add an entry, whole or not at all."""
        self._lines.add(msgspec.json.encode(entry))

    def close(self) -> None:
        """Let go of it."""
        self._lines.close()
        os.close(self._lock)


class Ledger:
    """The entries of a worker, and the store that they go to. `entered` and `committed` are the tokens of each key that
    were spent by entries of this worker, and by those of them that were added to the store; `folder` has the journals
    of all workers."""

    def __init__(self, store: UsageStore, folder: Path) -> None:
        self.entered: Counter[str] = Counter()
        self.committed: Counter[str] = Counter()
        self._store = store
        self.folder = folder
        self._journal: Journal | None = None
        self._unwritten: list[Entry] = []
        self._dirty = False
        self._failing = False
        self._committing = asyncio.Lock()

    def enter(self, entry: Entry) -> None:
        """Keep an entry. What the disk does not take is kept in memory until it does."""
        self.entered[entry.key] += entry.counts.spent
        self._dirty = True
        self._unwritten.append(entry)
        with self._reporting():
            self._write()

    async def tend(self) -> None:
        """Add to the store what comes, and what dead workers left, until cancelled."""
        left = True
        while True:
            with self._reporting():
                await self.commit()
                if left:
                    await asyncio.to_thread(take_over, self._store, self.folder)
                    left = False
            await asyncio.sleep(INTERVAL)

    async def commit(self) -> None:
        """Add what is new to the store. Raises OSError. Whoever is cancelled meanwhile leaves it to go on: it cannot be
        known how far it came."""
        await asyncio.shield(self._commit_alone())

    async def _commit_alone(self) -> None:
        async with self._committing:
            await self._commit()

    async def _commit(self) -> None:
        if not self._dirty:
            return
        self._dirty = False
        try:
            self._write()
            entered = self.entered.copy()
            if self._journal is None:
                return
            journal = self._journal
            read = await asyncio.to_thread(self._store.take, journal.path)
        except BaseException:
            self._dirty = True
            raise
        self.committed = entered
        if read > _LONGEST and not self._dirty:
            # Nothing was written since: an entry comes in this thread.
            await self._give_way(journal)

    async def close(self) -> None:
        """Add what is left, and let go of the journal, which is no more where all of it was added."""
        with self._reporting():
            await self.commit()
            if self._journal is not None:
                await self._give_way(self._journal)

    async def _give_way(self, journal: Journal) -> None:
        self._journal = None
        journal.path.unlink()
        journal.close()
        await asyncio.to_thread(self._store.forget, journal.path)

    def _write(self) -> None:
        while self._unwritten:
            if self._journal is None:
                self._journal = Journal(self.folder)
            self._journal.add(self._unwritten[0])
            del self._unwritten[0]

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        """Tell of a failure, once; it is tried again."""
        try:
            yield
            self._failing = bool(self._unwritten)
        except OSError as error:
            if not self._failing:
                log.warning(files.refusal("usage", error, self.folder, "--state-dir or --store"))
            self._failing = True
        except Exception:
            if not self._failing:
                log.exception("usage could not be added and is kept for now")
            self._failing = True


def take_over(store: UsageStore, folder: Path) -> None:
    """Add what is in the journals of workers that are no more, and remove these. Raises OSError."""
    for path in folder.glob("*.lines"):
        with contextlib.suppress(FileNotFoundError):
            lock = _locked(path)
            if lock is None:
                continue
            try:
                store.take(path)
                path.unlink()
                store.forget(path)
            finally:
                os.close(lock)


def _locked(path: Path) -> int | None:
    """A handle of a file that nobody else has a lock on; None where somebody has, or it is another file by now."""
    handle = os.open(path, os.O_RDONLY)
    with contextlib.suppress(FileNotFoundError):
        if try_lock(handle) and os.path.samestat(os.fstat(handle), path.stat()):
            return handle
    os.close(handle)
    return None
