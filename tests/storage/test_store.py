"""The store, over SQLite and a folder and over Postgres and an object store."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, func, insert, select, text, update

from antiphon.storage.records import NewerTables, Records, TableSet
from antiphon.storage.store import Store, open_store
from tests.faults.disk import Disk
from tests.storage.places import Place, local

METADATA = MetaData()
THINGS = Table("things", METADATA, Column("name", Text, primary_key=True), Column("count", Integer))
TABLES = TableSet("things", 1, METADATA)

COUNT = """
import sys
from antiphon.storage.records import Records
from tests.storage.test_store import TABLES, begin, one_more

records = Records(sys.argv[1])
records.run(TABLES, begin)
for _ in range(30):
    records.run(TABLES, one_more)
"""

WRITE = """
import sqlite3, sys

store = sqlite3.connect(sys.argv[1])
store.execute("UPDATE things SET count = count + 1")
store.commit()
store.close()
"""


def begin(connection: Connection) -> None:
    """Make the thing to count, if nobody else did."""
    connection.execute(text("INSERT INTO things (name, count) VALUES ('shared', 0) ON CONFLICT DO NOTHING"))


def one_more(connection: Connection) -> None:
    """Count a thing in two steps, which lose a count unless nobody comes between them."""
    count = connection.scalar(select(THINGS.c.count).where(THINGS.c.name == "shared").with_for_update())
    connection.execute(update(THINGS).where(THINGS.c.name == "shared").values(count=count + 1))


def add(name: str, count: int = 0) -> object:
    return lambda connection: connection.execute(insert(THINGS).values(name=name, count=count))


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """A store of each kind, emptied afterwards."""
    store = open_store(place.records, place.contents)
    yield store
    store.records.run(TABLES, lambda connection: connection.execute(THINGS.delete()))
    store.close()


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def whole(store: Store, name: str) -> bytes:
    return b"".join([piece async for piece in store.contents.read(name)])


async def test_text_with_nul_is_taken(store: Store) -> None:
    """In whatever is looked for and kept: a client makes up ids, and a store that knows no NUL is not broken."""
    name = select(THINGS.c.count).where(THINGS.c.name == "a\0b")
    assert await store.records.read(TABLES, lambda one: one.scalar(name)) is None
    await store.records.write(TABLES, add("a\0b", 7))
    assert await store.records.read(TABLES, lambda one: one.scalar(name)) == 7


async def test_what_is_written_is_found_by_another(place: Place, store: Store) -> None:
    """A second store of the same place, as another process has it, finds all of it."""
    await store.records.write(TABLES, add("a", 3))
    big = os.urandom(6 << 20)
    await store.contents.write("files/a", pieces(b"x", big, b"", b"y"))
    other = open_store(place.records, place.contents)
    assert await other.records.read(TABLES, lambda one: one.scalar(select(THINGS.c.count))) == 3
    assert await whole(other, "files/a") == b"x" + big + b"y"
    other.close()


async def test_a_transaction_is_done_whole_or_not_at_all(store: Store) -> None:
    """What fails in the middle leaves nothing behind."""

    def half(connection: Connection) -> None:
        add("b")(connection)
        raise KeyError

    with pytest.raises(KeyError):
        await store.records.write(TABLES, half)
    assert await store.records.read(TABLES, lambda one: one.scalar(select(func.count()).select_from(THINGS))) == 0


async def test_contents_that_fail_are_not_there(store: Store) -> None:
    """Whatever ends the bytes early: nothing is kept under the name, and it can be used again."""

    async def broken(size: int) -> AsyncIterator[bytes]:
        yield b"x" * size
        raise KeyError

    for size in (1, 12 << 20):
        with pytest.raises(KeyError):
            await store.contents.write("files/broken", broken(size))
        with pytest.raises(FileNotFoundError):
            await whole(store, "files/broken")
    await store.contents.write("files/broken", pieces(b"good"))
    assert await whole(store, "files/broken") == b"good"


async def test_contents_are_listed_by_age_and_deleted(store: Store) -> None:
    """Deleting what is not there is no error."""
    await store.contents.write("listed/a", pieces(b""))
    assert await store.contents.names("listed", 3600) == []
    assert await store.contents.names("listed", -10) == ["listed/a"]
    assert await whole(store, "listed/a") == b""
    for _ in range(2):
        await store.contents.delete("listed/a")
    assert await store.contents.names("listed", -10) == []


async def test_what_others_put_among_contents_is_not_listed(tmp_path: Path) -> None:
    """Neither what no contents could be called, nor what is no file; all of it stays where it is."""
    place = local(tmp_path)
    store = open_store(place.records, place.contents)
    await store.contents.write("listed/a", pieces(b""))
    folder = tmp_path / "contents" / "listed"
    for name in (".nfs0001", ".DS_Store", "a b"):
        (folder / name).touch()
    for name in ("new-folder", "folder"):
        (folder / name).mkdir()
    (folder / "link").symlink_to(tmp_path)
    there = sorted(os.listdir(folder))
    assert await store.contents.names("listed", -10) == ["listed/a"]
    assert sorted(os.listdir(folder)) == there
    store.close()


@pytest.mark.parametrize("name", ["a", "../a", "files/../a", "/files/a", "files/.a", "files/", "files/a b", ""])
async def test_names_stay_inside(store: Store, name: str) -> None:
    """No name leads out of the place."""
    with pytest.raises(ValueError, match="no name"):
        await store.contents.write(name, pieces(b"x"))


def test_processes_wait_for_one_another(place: Place, store: Store) -> None:
    """Several that find no tables, make them and count at the same time lose no count."""
    running = [subprocess.Popen([sys.executable, "-c", COUNT, place.records]) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert store.records.run(TABLES, lambda one: one.scalar(select(THINGS.c.count))) == 90


def test_a_new_file_that_another_writes_to_is_waited_for(tmp_path: Path) -> None:
    """Also by whoever opens it first, while the other has not changed to the log that is written ahead."""
    file = tmp_path / "store.sqlite"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE others (name TEXT)")
    other.execute("BEGIN IMMEDIATE")
    records = Records(f"sqlite:///{file}")
    threading.Timer(0.1, other.execute, ["COMMIT"]).start()
    records.run(TABLES, begin)
    records.close()
    other.close()


def test_what_others_write_is_seen_after_they_ended(tmp_path: Path) -> None:
    """A process that has used several sets of tables sees each write of others that come, write and go."""
    records = Records(f"sqlite:///{tmp_path / 'store.sqlite'}")
    records.run(TABLES, begin)
    others = MetaData()
    Table("others", others, Column("name", Text, primary_key=True))
    records.run(TableSet("others", 1, others), lambda connection: None)
    for number in (1, 2, 3):
        subprocess.run([sys.executable, "-c", WRITE, tmp_path / "store.sqlite"], check=True)
        assert records.run(TABLES, lambda one: one.scalar(select(THINGS.c.count)), writes=False) == number
    records.close()


def test_older_tables_are_taken_over_and_newer_refused(place: Place, store: Store) -> None:
    """Each migration is done once, with what it changes, and a server that does not know a version says so."""
    store.records.run(TABLES, add("old"))

    def double(connection: Connection) -> None:
        connection.execute(text("UPDATE things SET count = 2 * count + 1"))

    newer = TableSet("things", 3, METADATA, {1: double, 2: double})
    for _ in range(2):
        records = Records(place.records)
        assert records.run(newer, lambda one: one.scalar(select(THINGS.c.count))) == 3
        records.close()
    records = Records(place.records)
    with pytest.raises(NewerTables, match="version 3, and this server knows 1"):
        records.run(TABLES, lambda one: None)
    records.run(newer, lambda one: one.execute(text("UPDATE table_sets SET version = 1 WHERE name = 'things'")))
    records.close()


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    """Neither the database nor what lies beside it, nor contents."""
    place = local(tmp_path / "state")
    store = open_store(place.records, place.contents)
    store.records.run(TABLES, lambda one: None)
    asyncio.run(store.contents.write("files/a", pieces(b"x")))
    for folder, folders, files in os.walk(tmp_path / "state"):
        for name in [*folders, *files]:
            assert not os.stat(os.path.join(folder, name)).st_mode & 0o077
    store.close()


def test_a_database_that_takes_nothing_says_why_and_works_again(tmp_path: Path) -> None:
    """A full disk is told in the system's words, and only until there is room."""
    records = Records(local(tmp_path).records)

    def fill(connection: Connection) -> None:
        # Of this connection alone, and as a disk would refuse it.
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        add("full " + "x" * 100_000)(connection)

    records.run(TABLES, lambda one: None)
    with pytest.raises(OSError, match="full") as caught:
        records.run(TABLES, fill)
    assert caught.value.errno == errno.ENOSPC
    records.run(TABLES, lambda one: one.exec_driver_sql("PRAGMA max_page_count = 1000000"))
    records.run(TABLES, add("again"))
    records.close()


def test_a_broken_database_is_an_os_error(tmp_path: Path) -> None:
    """What is no database, what cannot be opened, and a server that does not answer."""
    (tmp_path / "text.sqlite").write_text("no database " * 100)
    (tmp_path / "folder.sqlite").mkdir()
    for url in (f"sqlite:///{tmp_path}/text.sqlite", f"sqlite:///{tmp_path}/folder.sqlite"):
        with pytest.raises(OSError, match=r"."):
            Records(url).run(TABLES, lambda one: None)
    with pytest.raises(OSError, match="refused"):
        Records("postgresql://nobody:secret@127.0.0.1:1/none").run(TABLES, lambda one: None)


def test_a_password_is_in_no_message() -> None:
    """The place of the records names everything but that."""
    assert "secret" not in Records("postgresql://nobody:secret@127.0.0.1:1/none").place


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:", "mysql://host/data", "postgres", "/a/file"])
def test_other_databases_are_refused(url: str) -> None:
    """With the two that there are."""
    with pytest.raises(ValueError, match="sqlite:///PATH or postgresql://"):
        Records(url)


async def test_contents_on_a_disk_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever call fails: the contents are whole or not there, and can be written again."""
    for n in range(50):
        with monkeypatch.context() as patch:
            place = local(tmp_path / str(n))
            store = open_store(place.records, place.contents)
            disk = Disk(tmp_path / str(n), patch)
            disk.fail(n, error=errno.ENOSPC)
            try:
                await store.contents.write("files/a", pieces(b"1", b"2"))
            except OSError:
                with pytest.raises(FileNotFoundError):
                    await whole(store, "files/a")
                await store.contents.write("files/a", pieces(b"1", b"2"))
            assert await whole(store, "files/a") == b"12"
            store.close()
            if n > disk.changes:
                break
    assert n > 4
