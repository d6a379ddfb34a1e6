"""Batches as those see them that work on them: shares that are claimed, kept, left and finished.

Servers know nothing of one another. A claim is void when its time has passed without being renewed; whatever is written
under a claim counts only while it holds, and every request has room for one answer.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update

from antiphon.batches import requests
from antiphon.batches.requests import Item
from antiphon.batches.store import LIFETIME, Batch, batch_of
from antiphon.batches.tables import ANSWERS, ATTEMPTS, BATCHES, SHARES, TABLES
from antiphon.storage.store import Store

LEASE = 10.0
"""Seconds for which a claim holds that is not renewed: so long a batch waits for a server that was killed."""


class ClaimLost(Exception):
    """Somebody else has the share by now, or it is done."""


class Share(msgspec.Struct, frozen=True, eq=False):
    """A stretch of a batch that was claimed: its requests from one place on, whose lines lie between two offsets. One
    with no requests is the end of the batch. `answered` are those that have an answer, `deaths` how often a server has
    died while it worked on each of the others."""

    batch: Batch
    number: int
    first: int
    count: int
    start: int
    end: int
    claim: str
    answered: frozenset[str]
    deaths: Counter[str]


class Queue:
    """The shares in a store. Everything raises OSError where the store does not work, and can then be called again.
    Claims hold for `lease` seconds."""

    def __init__(self, store: Store, lease: float = LEASE) -> None:
        self._store = store
        self._lease = lease
        self._now = store.records.now

    async def waiting(self) -> list[Batch]:
        """The batches of which a share can be claimed, the oldest first."""
        query = select(BATCHES).where(exists().where(SHARES.c.batch == BATCHES.c.id, self._free()))
        rows = await self._store.records.read(
            TABLES, lambda one: one.execute(query.order_by(BATCHES.c.created, BATCHES.c.id)).all()
        )
        return [batch_of(row) for row in rows]

    async def abandoned(self, ids: Collection[str]) -> set[str]:
        """Those of these batches whose rest nobody wants any more: cancelled, expired, or not there."""
        query = select(BATCHES.c.id).where(BATCHES.c.id.in_(ids), ~self._given_up())
        alive = await self._store.records.read(TABLES, lambda one: one.scalars(query).all()) if ids else ()
        return set(ids).difference(alive)

    async def claim(self, batch: Batch) -> Share | None:
        """The next share of a batch, if there is one that is free."""
        claim = secrets.token_hex(8)

        def work(connection: Connection) -> Share | None:
            free = select(SHARES).join(BATCHES, SHARES.c.batch == BATCHES.c.id).where(BATCHES.c.id == batch.id)
            free = free.where(self._free()).order_by(SHARES.c.number).limit(1)
            row = connection.execute(free.with_for_update(of=SHARES, skip_locked=True)).first()
            if row is None:
                return None
            current = connection.execute(select(BATCHES).where(BATCHES.c.id == batch.id)).one()
            mine = and_(SHARES.c.batch == batch.id, SHARES.c.number == row.number)
            connection.execute(update(SHARES).where(mine).values(claim=claim, until=self._now + self._lease))
            answered = select(ANSWERS.c.custom_id).where(ANSWERS.c.batch == batch.id, ANSWERS.c.share == row.number)
            begun = select(ATTEMPTS.c.custom_id, func.count()).where(
                ATTEMPTS.c.batch == batch.id, ATTEMPTS.c.share == row.number
            )
            deaths = connection.execute(begun.group_by(ATTEMPTS.c.custom_id))
            return Share(
                batch=batch_of(current),
                number=row.number,
                first=row.first,
                count=row._mapping["count"],
                start=row.start,
                end=row.end,
                claim=claim,
                answered=frozenset(connection.scalars(answered)),
                deaths=Counter(dict(iter(deaths))),
            )

        return await self._store.records.write(TABLES, work)

    async def renew(self, shares: Iterable[Share]) -> None:
        """Keep these claims, as far as they still hold."""
        claims = [share.claim for share in shares]
        renewed = update(SHARES).where(SHARES.c.claim.in_(claims)).values(until=self._now + self._lease)
        if claims:
            await self._store.records.write(TABLES, lambda one: one.execute(renewed))

    async def leave(self, share: Share) -> None:
        """Let somebody else have the rest of a share. No request of it is to blame."""

        def work(connection: Connection) -> None:
            connection.execute(delete(ATTEMPTS).where(ATTEMPTS.c.claim == share.claim))
            connection.execute(update(SHARES).where(SHARES.c.claim == share.claim).values(claim=None, until=None))

        await self._store.records.write(TABLES, work)

    async def finish(self, share: Share) -> None:
        """All requests of a share have their answers."""
        done = update(SHARES).where(SHARES.c.claim == share.claim).values(done=True, claim=None, until=None)
        await self._store.records.write(TABLES, lambda one: one.execute(done))

    async def items(self, share: Share) -> list[Item]:
        """The requests of a share that have no answer, in their order."""
        lines: list[bytes] = []
        with contextlib.suppress(FileNotFoundError):
            lines = await self._lines(share.batch, share.start, share.end)
        items = list(requests.read(lines, share.first))
        seen = share.answered.union(item.custom_id for item in items)
        lost = requests.lost(share.count, share.first, seen)
        return [item for item in chain(items, lost) if item.custom_id not in share.answered]

    async def _lines(self, batch: Batch, start: int, end: int) -> list[bytes]:
        if start == end:
            return []
        async with contextlib.aclosing(self._store.contents.read(batch.requests or "", start, end)) as pieces:
            return b"".join([piece async for piece in pieces]).split(b"\n")[:-1]

    def _free(self) -> ColumnElement[bool]:
        """Whether a share of a batch, which stands beside it, can be claimed: nobody has it, somebody wants its answers
        or it is the end, and nothing is in the way of that."""
        others, given_up = SHARES.alias(), self._given_up()
        at_work = (
            exists()
            .where(others.c.batch == SHARES.c.batch, others.c.count > 0, others.c.done.is_(False))
            .where(or_(~given_up, others.c.until >= self._now))
            .correlate(SHARES, BATCHES)
        )
        return and_(
            SHARES.c.done.is_(False),
            or_(SHARES.c.claim.is_(None), SHARES.c.until < self._now),
            or_(and_(SHARES.c.count > 0, ~given_up), and_(SHARES.c.count == 0, ~at_work)),
        )

    def _given_up(self) -> ColumnElement[bool]:
        return or_(BATCHES.c.cancelled.is_not(None), BATCHES.c.created < self._now - LIFETIME)


def holds(connection: Connection, share: Share) -> bool:
    """Whether a claim holds; it then does so until the end of the transaction."""
    mine = select(SHARES.c.number).where(SHARES.c.batch == share.batch.id, SHARES.c.number == share.number)
    return connection.scalar(mine.where(SHARES.c.claim == share.claim).with_for_update()) is not None
