"""Usage in the store: sums of each hour, by key, model and tier.

What a worker has entered in its journal is added together with how far the journal was read, in one transaction, so
that every line counts once however often somebody dies between the two. Of entries with an id the first that is added
counts, whoever made it. A line that cannot be read, as a loss of power may leave one, counts for nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    MetaData,
    RowMapping,
    Table,
    Text,
    delete,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from antiphon.accounts.usage import DAY, NAMES, Cell, Counts, Entry, summed
from antiphon.storage.records import Records, TableSet

log = logging.getLogger("antiphon")

_METADATA = MetaData()
_USAGE = Table(
    "usage",
    _METADATA,
    Column("key", Text, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("tier", Text, primary_key=True),
    Column("whole", Boolean, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in NAMES),
    Index("usage_hour", "hour"),
)
_JOURNALS = Table(
    "usage_journals",
    _METADATA,
    Column("name", Text, primary_key=True),
    Column("read", BigInteger, nullable=False),
)
_ONCE = Table(
    "usage_once",
    _METADATA,
    Column("id", Text, primary_key=True),
    # Which entry it was that counted: the journal it stands in, and where its line ends.
    Column("entry", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Index("usage_once_time", "time"),
)
_TABLES = TableSet("usage", 2, _METADATA, {1: _ONCE.create})
_REMEMBERED = 31 * DAY
"""For so long nothing is counted again that has an id: longer than a batch is kept, or a journal is likely to lie."""
_ATTEMPTS = 20
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
_MOST_NAMED = 500
"""Ids in one question to the database."""


class UsageStore:
    """The usage in a store's records. Everything raises OSError where that does not work. It is for threads: whoever
    must not wait calls it in one."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def take(self, journal: Path) -> int:
        """Add what of a journal was not added yet; gives how far it was read, in bytes."""

        def work(connection: Connection) -> tuple[int, int]:
            read = _read(connection, journal.name)
            entries, end, unreadable = _entries(journal, read)
            if end == read:
                return end, 0
            cells = summed(_first(connection, entries))
            for cell in sorted(cells, key=msgspec.structs.astuple):
                _add(connection, cell, cells[cell])
            _mark(connection, journal.name, end)
            return end, unreadable

        end, unreadable = self._records.run(_TABLES, work)
        if unreadable:
            log.warning("lines of usage in %s that cannot be read and are not counted: %d", journal, unreadable)
        return end

    def forget(self, journal: Path) -> None:
        """The journal is gone, and so is all need to know how far it was read."""
        self._records.run(_TABLES, lambda one: one.execute(delete(_JOURNALS).where(_JOURNALS.c.name == journal.name)))

    def spent(self, key: str, since: int) -> int:
        """The tokens that a key has spent since a time (Unix seconds, the beginning of an hour)."""
        if not self._records.keeps(_TABLES):
            return 0
        tokens = func.sum(_USAGE.c.input + _USAGE.c.created + _USAGE.c.output)
        mine = select(func.coalesce(tokens, 0)).where(_USAGE.c.key == key, _USAGE.c.hour >= since)
        return int(self._records.run(_TABLES, lambda one: one.scalar(mine), writes=False) or 0)

    def cells(self, folder: Path, since: int, until: int) -> dict[Cell, Counts]:
        """What was used in a period (Unix seconds, of whole hours), with what journals in this folder have that was not
        added yet."""
        for _ in range(_ATTEMPTS):
            journals = sorted(folder.glob("*.lines")) if folder.is_dir() else []
            if not journals and not self._records.keeps(_TABLES):
                return {}
            totals, read = self._records.run(_TABLES, lambda one: _snapshot(one, since, until), writes=not journals)
            try:
                placed = [each for file in journals for each in _entries(file, read.get(file.name, 0))[0]]
            except FileNotFoundError:
                # It was added after the snapshot, and removed.
                continue
            waiting = self._records.run(_TABLES, partial(_counted, placed=placed), writes=False)
            for cell, counts in summed(waiting).items():
                if since <= cell.hour < until:
                    totals[cell] = totals.get(cell, Counts()).plus(counts)
            return totals
        raise OSError("usage is added faster than it can be read; try again")


def _snapshot(connection: Connection, since: int, until: int) -> tuple[dict[Cell, Counts], dict[str, int]]:
    mine = select(_USAGE).where(_USAGE.c.hour >= since, _USAGE.c.hour < until)
    found = {_cell(row): Counts(*(int(row[name]) for name in NAMES)) for row in connection.execute(mine).mappings()}
    return found, {name: read for name, read in connection.execute(select(_JOURNALS))}


def _cell(row: RowMapping) -> Cell:
    return Cell(row["hour"], row["key"], row["model"], row["tier"], row["whole"])


def _add(connection: Connection, cell: Cell, counts: Counts) -> None:
    row = _insert(connection, _USAGE).values(**msgspec.structs.asdict(cell), **msgspec.structs.asdict(counts))
    more = {name: _USAGE.c[name] + row.excluded[name] for name in NAMES}
    connection.execute(row.on_conflict_do_update(index_elements=list(_USAGE.primary_key), set_=more))


def _read(connection: Connection, journal: str) -> int:
    """How far a journal was added. Whoever asks to add has it alone: its owner, or whoever found it without one."""
    return int(connection.scalar(select(_JOURNALS.c.read).where(_JOURNALS.c.name == journal)) or 0)


def _mark(connection: Connection, journal: str, read: int) -> None:
    row = _insert(connection, _JOURNALS).values(name=journal, read=read)
    connection.execute(row.on_conflict_do_update(index_elements=[_JOURNALS.c.name], set_={"read": read}))


def _insert(connection: Connection, table: Table) -> Any:
    kinds: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return kinds[connection.dialect.name](table)


class _Placed(NamedTuple):
    """An entry, and which one it is of all."""

    entry: Entry
    place: str


def _entries(journal: Path, start: int) -> tuple[list[_Placed], int, int]:
    """The entries of the whole lines behind a place in a journal, where these end, and how many cannot be read."""
    with journal.open("rb") as file:
        file.seek(start)
        waiting = file.read()
    entries, end, unreadable = list[_Placed](), start, 0
    for line in waiting[: waiting.rfind(b"\n") + 1].splitlines(keepends=True):
        end += len(line)
        try:
            entries.append(_Placed(msgspec.json.decode(line, type=Entry), f"{journal.name}:{end}"))
        except _UNREADABLE:
            unreadable += 1
    return entries, end, unreadable


def _first(connection: Connection, placed: Iterable[_Placed]) -> Iterator[Entry]:
    """Those of the entries that count: what has an id is taken down here, unless it was before."""
    now = 0
    # In one order, so that no two servers wait for each other.
    for entry, place in sorted(placed, key=lambda each: each.entry.id):
        if entry.id:
            now = max(now, entry.time)
            row = _insert(connection, _ONCE).values(id=entry.id, entry=place, time=entry.time)
            if connection.scalar(row.on_conflict_do_nothing().returning(_ONCE.c.id)) is None:
                continue
        yield entry
    if now:
        connection.execute(delete(_ONCE).where(_ONCE.c.time < now - _REMEMBERED))


def _counted(connection: Connection, placed: Sequence[_Placed]) -> list[Entry]:
    """Those of entries that were not added at a time, and count: no other with the same id was, or is before it."""
    ids = [entry.id for entry, _ in placed if entry.id]
    counting = dict[str, str]()
    for begin in range(0, len(ids), _MOST_NAMED):
        rows = select(_ONCE.c.id, _ONCE.c.entry).where(_ONCE.c.id.in_(ids[begin : begin + _MOST_NAMED]))
        counting.update(iter(connection.execute(rows)))
    return [entry for entry, place in placed if not entry.id or counting.setdefault(entry.id, place) == place]
