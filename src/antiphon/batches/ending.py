"""The end of a batch: its answers, which lie in the records until then, become contents."""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select, update

from antiphon.batches import requests
from antiphon.batches.queue import ClaimLost, Share, holds
from antiphon.batches.store import Batch
from antiphon.batches.tables import ANSWERS, ATTEMPTS, BATCHES, FOLDER, SHARES, TABLES
from antiphon.storage.store import Store

_PAGE = 256
"""Answers that are read at once."""


async def conclude(store: Store, share: Share) -> None:
    """End a batch whose last share this is. What has no answer is told as given up. Raises ClaimLost and OSError."""
    batch = share.batch
    # Another one each time: an attempt of which the outcome is not known may have succeeded.
    name, counts = f"{FOLDER}/{batch.id}.results-{secrets.token_hex(4)}", Counter[str]()
    async with contextlib.aclosing(_results(store, batch, counts)) as results:
        await store.contents.write(name, results)
    ended = update(BATCHES).where(BATCHES.c.id == batch.id)

    def work(connection: Connection) -> None:
        if not holds(connection, share):
            raise ClaimLost
        connection.execute(ended.values(ended=store.records.now, requests=None, results=name, **counts))
        for table in (SHARES, ANSWERS, ATTEMPTS):
            connection.execute(delete(table).where(table.c.batch == batch.id))

    try:
        await store.records.write(TABLES, work)
    except ClaimLost:
        await store.contents.delete(name)
        raise
    # What stays for now is swept later.
    with contextlib.suppress(OSError):
        await store.contents.delete(batch.requests or "")


async def _results(store: Store, batch: Batch, counts: Counter[str]) -> AsyncGenerator[bytes, None]:
    """The lines of all results, counted by how they went."""
    seen, last = set[str](), ""
    while rows := await store.records.read(TABLES, partial(_answers, batch, last)):
        seen.update(row.custom_id for row in rows)
        counts.update(row.outcome for row in rows)
        yield b"".join(bytes(row.line) + b"\n" for row in rows)
        last = rows[-1].custom_id
    outcome = "canceled" if batch.cancelled is not None else "expired"
    async for id in _unanswered(store, batch, seen):
        counts[outcome] += 1
        yield msgspec.json.encode({"custom_id": id, "result": {"type": outcome}}) + b"\n"


def _answers(batch: Batch, after: str, connection: Connection) -> Sequence[Row[Any]]:
    mine = select(ANSWERS).where(ANSWERS.c.batch == batch.id, ANSWERS.c.custom_id > after)
    return connection.execute(mine.order_by(ANSWERS.c.custom_id).limit(_PAGE)).all()


async def _unanswered(store: Store, batch: Batch, seen: set[str]) -> AsyncGenerator[str, None]:
    """The requests that are not among the `seen` ones, which they are added to."""
    if len(seen) == batch.total:
        return
    rest, place = b"", 0
    # What cannot be read is lost, and must not keep the others waiting.
    with contextlib.suppress(OSError):
        async with contextlib.aclosing(store.contents.read(batch.requests or "")) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for item in requests.read(lines, place):
                    if item.custom_id not in seen:
                        seen.add(item.custom_id)
                        yield item.custom_id
                place += len(lines)
    for item in requests.lost(batch.total, 0, seen):
        yield item.custom_id
