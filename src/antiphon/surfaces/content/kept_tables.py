"""Tables that a surface keeps in the store, and what a client is told where that does not work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from antiphon.api.errors import NotFound, NotKept
from antiphon.storage import files
from antiphon.storage.records import TableSet
from antiphon.storage.store import Store

T = TypeVar("T")


class KeptTables:
    """A set of tables in a store. Raises NotKept where the store does not work, and NotFound where there is none."""

    def __init__(self, store: Store | None, tables: TableSet) -> None:
        self._store = store
        self._tables = tables

    @property
    def available(self) -> bool:
        """Whether anything can be kept."""
        return self._store is not None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds."""
        store = self._opened()
        try:
            return await store.records.read(self._tables, work)
        except OSError as error:
            place, _ = store.source(error)
            raise NotKept(f"{self._tables.name} cannot be read from {place}: {files.reason(error)}") from error

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work`, all of it or nothing."""
        store = self._opened()
        try:
            return await store.records.write(self._tables, work)
        except OSError as error:
            raise NotKept(files.refusal(self._tables.name, error, *store.source(error))) from error

    def _opened(self) -> Store:
        if self._store is None:
            raise NotFound(f"this server keeps no {self._tables.name}", code=f"{self._tables.name[:-1]}_not_found")
        return self._store
