"""Records: what is known of the things that are kept, in the tables of a database.

SQLite in a file serves the processes of one machine, Postgres those of many. Whoever keeps records declares a
`TableSet` in a file of its own; its tables are made, or brought to their newest form, when they are first used.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    cast,
    create_engine,
    event,
    exc,
    func,
    inspect,
    literal_column,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url

_T = TypeVar("_T")

_PATIENCE = 30.0
"""Seconds for which a process waits for another that writes to the same file."""
_PAUSE = 0.01
"""Seconds between two tries where SQLite does not wait by itself."""
_PREPARATION = 0x616E7469
"""The number of Postgres' advisory lock that is held while tables are made."""
_REASONS = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
}
"""The system's number for what SQLite says went wrong."""

_versions = Table(
    "table_sets",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False),
)


class TableSet(msgspec.Struct, frozen=True, eq=False):
    """The tables of one user of the records. `migrations` takes what is there from a version to the next."""

    name: str
    version: int
    tables: MetaData
    migrations: Mapping[int, Callable[[Connection], None]] = {}


class RecordsFailed(OSError):
    """The database does not work now. Its number is the system's, where there is one for it."""


class NewerTables(RecordsFailed):
    """The tables were written by a newer server. No bytes are touched."""


class Records:
    """The tables of a database. Whatever keeps them from being read or written raises OSError; it works again once
    that is over. `place` names the database in messages, without a password."""

    def __init__(self, url: str) -> None:
        """Take a URL, `sqlite:///PATH` or `postgresql://HOST/DATABASE`. Nothing is opened yet. Raises ValueError."""
        place = _parsed(url)
        self.place = place.database or "" if _is_sqlite(place) else place.render_as_string(hide_password=True)
        self._file = Path(place.database or "") if _is_sqlite(place) else None
        self._engine = _engine(place)
        self._prepared = set[str]()
        self._preparing = threading.Lock()

    def keeps(self, tables: TableSet) -> bool:
        """Whether these tables were ever used here. Looking makes nothing: no file, and no table. Raises OSError."""
        if tables.name in self._prepared:
            return True
        if self._file is not None and not _holds_anything(self._file):
            return False
        with _as_os_errors(), self._transaction(writes=False) as connection:
            known = inspect(connection).has_table(_versions.name)
            mine = select(_versions.c.version).where(_versions.c.name == tables.name)
            return known and connection.scalar(mine) is not None

    @property
    def now(self) -> ColumnElement[float]:
        """The time of the database, in Unix seconds: machines that share it need not agree on theirs."""
        if self._file is not None:
            return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float(53))
        return cast(func.extract("epoch", func.clock_timestamp()), Float(53))

    async def read(self, tables: TableSet, work: Callable[[Connection], _T]) -> _T:
        """What `work` finds, in a thread and a transaction. It changes nothing. Raises OSError."""
        return await asyncio.to_thread(self.run, tables, work, writes=False)

    async def write(self, tables: TableSet, work: Callable[[Connection], _T]) -> _T:
        """Do `work` in a thread and a transaction: all of it or nothing, and what is done survives a loss of power.
        Raises OSError."""
        return await asyncio.to_thread(self.run, tables, work)

    def run(self, tables: TableSet, work: Callable[[Connection], _T], *, writes: bool = True) -> _T:
        """The same for those who are in a thread already."""
        with _as_os_errors():
            self._prepare(tables)
            with self._transaction(writes) as connection:
                return work(connection)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _transaction(self, writes: bool = True) -> Iterator[Connection]:
        with self._engine.connect() as connection, connection.execution_options(writes=writes).begin():
            yield connection

    def _prepare(self, tables: TableSet) -> None:
        with self._preparing:
            if tables.name in self._prepared:
                return
            if self._file is not None:
                _create(self._file)
            with self._transaction() as connection:
                if self._file is None:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _PREPARATION})
                _versions.create(connection, checkfirst=True)
                self._bring_up(tables, connection)
            self._prepared.add(tables.name)

    def _bring_up(self, tables: TableSet, connection: Connection) -> None:
        """Make the tables, or take those that are there to the version of this server."""
        mine = _versions.c.name == tables.name
        stored = connection.scalar(select(_versions.c.version).where(mine))
        if stored is None:
            tables.tables.create_all(connection)
            connection.execute(_versions.insert().values(name=tables.name, version=tables.version))
            return
        if stored > tables.version:
            raise NewerTables(
                f"the tables of {tables.name} there have version {stored}, and this server knows {tables.version} at "
                "most; start the newer server again"
            )
        for version in range(stored, tables.version):
            tables.migrations[version](connection)
        connection.execute(_versions.update().where(mine).values(version=tables.version))


def _parsed(url: str) -> URL:
    try:
        place = make_url(url)
    except exc.ArgumentError:
        place = URL.create("none")
    if place.drivername in ("postgres", "postgresql"):
        place = place.set(drivername="postgresql+psycopg")
    in_file = place.drivername == "sqlite" and bool(place.database) and place.database != ":memory:"
    if not in_file and place.drivername != "postgresql+psycopg":
        raise ValueError("the store must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE (--store)")
    return place


def _is_sqlite(place: URL) -> bool:
    return place.drivername == "sqlite"


def _engine(place: URL) -> Engine:
    if _is_sqlite(place):
        engine = create_engine(place, connect_args={"timeout": _PATIENCE})
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        # A connection that broke while it was idle is replaced before it is used.
        engine = create_engine(place, pool_pre_ping=True)
    except ModuleNotFoundError:
        raise ValueError("a store in Postgres needs psycopg: pip install 'antiphon[shared]'") from None
    event.listen(engine, "connect", _replace_nul)
    return engine


def _holds_anything(file: Path) -> bool:
    """Whether there is a database in a file, or beside it what is still to be written into it."""
    return any(each.exists() and each.stat().st_size for each in (file, file.with_name(file.name + "-wal")))


def _create(file: Path) -> None:
    """Make the file of a database, for its owner's eyes only; SQLite gives what lies beside it the same rights.

    One that is there is not opened: closing it again would drop the locks that SQLite holds on it in this process, and
    another process that ends would take the log away from under this one, which then sees no further change."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _set_up(connection: Any, _: object) -> None:
    # Transactions are begun below: the driver would begin them at the first write, too late to wait for another's.
    connection.isolation_level = None
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous=FULL")


def _replace_nul(connection: Any, _: object) -> None:
    """Take text that holds NUL, as an id that a client made up may: Postgres has no such text, SQLite has."""
    from psycopg.types.string import StrDumperUnknown  # of an extra

    class WithoutNul(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    connection.adapters.register_dumper(str, WithoutNul)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Use a log that is written ahead. Where another process begins to do so at the same moment, SQLite does not wait
    for it as it does elsewhere."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Say in the system's words what keeps a database from working. What is wrong with a statement stays as it is."""
    try:
        yield
    except RecordsFailed:
        raise
    except OSError as error:
        raise RecordsFailed(error.errno, error.strerror) from error
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError):
        raise
    except exc.DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        said = str(error.orig).strip().partition("\n")[0]
        number = _REASONS.get(code & 0xFF) if code is not None else None
        raise (RecordsFailed(number, said) if number else RecordsFailed(said)) from error
    except exc.TimeoutError as error:
        raise RecordsFailed(errno.EBUSY, "all connections are in use") from error
