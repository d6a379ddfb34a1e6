"""What is written of requests at work: which were begun, and their answers.

All that comes while a transaction is running goes into the next one, so that a thousand small requests do not wait for
the disk one after another. What the store does not take now waits until it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, Table, exists, literal, select
from sqlalchemy.sql.expression import Executable

from antiphon.batches.queue import ClaimLost, Share, holds
from antiphon.batches.tables import ANSWERS, ATTEMPTS, TABLES
from antiphon.storage.lines import one_line
from antiphon.storage.records import Records

_T = TypeVar("_T")

log = logging.getLogger("antiphon")

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds between two attempts to write: what is kept works again by itself once there is room."""


class _Entry(NamedTuple):
    share: Share
    statement: Executable
    written: asyncio.Future[None]

    def settle(self, failure: Exception | None) -> None:
        """Tell whoever waits, if somebody still does."""
        if self.written.done():
            return
        if failure is not None:
            self.written.set_exception(failure)
        else:
            self.written.set_result(None)


class Journal:
    """Writes for all requests that are at work in this process."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._entries: list[_Entry] = []
        self._writing: asyncio.Task[None] | None = None

    async def begin(self, share: Share, custom_id: str) -> None:
        """Take down that a request is begun: it may be what the server dies of. Raises ClaimLost."""
        key = {"batch": share.batch.id, "custom_id": custom_id, "claim": share.claim}
        await self._write(share, _insert(ATTEMPTS, key, share=share.number))

    async def answer(self, share: Share, custom_id: str, result: Mapping[str, Any]) -> None:
        """Keep the answer to a request, if it has none yet: `type` is how it went, JSON in it is `msgspec.Raw`. Raises
        ValueError and RecursionError where that is none, and ClaimLost."""
        line = msgspec.json.encode(
            {"custom_id": custom_id, "result": {name: _in_line(value) for name, value in result.items()}}
        )
        key = {"batch": share.batch.id, "custom_id": custom_id}
        await self._write(share, _insert(ANSWERS, key, share=share.number, outcome=result["type"], line=line))

    async def close(self) -> None:
        """Give up what is not written yet."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self, share: Share, statement: Executable) -> None:
        entry = _Entry(share, statement, asyncio.get_running_loop().create_future())
        self._entries.append(entry)
        if self._writing is None:
            self._writing = asyncio.create_task(self._drain())
        await entry.written

    async def _drain(self) -> None:
        try:
            while self._entries:
                entries, self._entries = self._entries, []
                failures: list[Exception | None]
                try:
                    lost = await persistently(partial(self._commit, entries))
                    failures = [ClaimLost() if entry.share.claim in lost else None for entry in entries]
                except Exception as error:
                    failures = [error] * len(entries)
                for entry, failure in zip(entries, failures, strict=True):
                    entry.settle(failure)
        finally:
            self._writing = None

    async def _commit(self, entries: Iterable[_Entry]) -> set[str]:
        """Write what somebody waits for. Gives the claims that do not hold any more, for which nothing was written."""
        waited_for = [entry for entry in entries if not entry.written.done()]

        def work(connection: Connection) -> set[str]:
            lost, held = set[str](), set[str]()
            for entry in waited_for:
                claim = entry.share.claim
                if claim not in lost | held:
                    (held if holds(connection, entry.share) else lost).add(claim)
                if claim in held:
                    connection.execute(entry.statement)
            return lost

        return await self._records.write(TABLES, work)


async def persistently(work: Callable[[], Awaitable[_T]]) -> _T:
    """Do what needs the store as soon as that works."""
    pause = _SHORTEST_PAUSE
    while True:
        try:
            return await work()
        except OSError as error:
            if pause == _SHORTEST_PAUSE:
                log.warning("the store does not answer, and a batch waits for it: %s", error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _insert(table: Table, key: Mapping[str, Any], **more: Any) -> Executable:
    """Add a row, unless there is one with this key: what a database has done may not be known here."""
    there = exists().where(*(table.c[name] == value for name, value in key.items()))
    row = {**key, **more}
    values = select(*(literal(value, table.c[name].type) for name, value in row.items())).where(~there)
    return table.insert().from_select(list(row), values)


def _in_line(value: Any) -> Any:
    return msgspec.Raw(one_line(bytes(value))) if isinstance(value, msgspec.Raw) else value
