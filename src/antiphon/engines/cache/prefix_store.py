"""Computed prefixes on disk: what an engine has computed of a prompt outlives its slot, its process and the server.

A prefix is a file that the engine wrote and a row of an index (SQLite), which several workers and several servers may
use at once. The index finds; it is not trusted. A file is used only when its size and checksum are what was noted when
it was written, and the engine compares the tokens in it with the prompt once more. So nothing is flushed and nothing
waits for the disk: what a crash or a full disk leaves behind is a file that does not fit its checksum.

Prefixes are told apart by a `domain`: a digest of all that makes the state of one engine useless, or secret, to another
(the model's file, the engine's build, the adapter, the client's key). Nothing is ever found in another domain.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from antiphon.engines.cache.pages import HASH, PAGE

log = logging.getLogger("antiphon")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS prefixes (
    name TEXT PRIMARY KEY, domain BLOB NOT NULL, last BLOB NOT NULL, conversation TEXT NOT NULL,
    tokens INTEGER NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL, used REAL NOT NULL);
CREATE INDEX IF NOT EXISTS by_last ON prefixes (domain, last);
CREATE INDEX IF NOT EXISTS by_use ON prefixes (used, size);
CREATE TABLE IF NOT EXISTS pages (
    domain BLOB NOT NULL, page BLOB NOT NULL, name TEXT NOT NULL, PRIMARY KEY (domain, page, name)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_name ON pages (name);
"""
_COLUMNS = "name, conversation, tokens, size, checksum"
_INDEX = "index.sqlite"
_DRAFT = "new-"
_FORGOTTEN = 3600.0
"""Seconds after which a file that no row tells of was left behind by a crash; so often it is looked for them."""
_BLOCK = 1 << 20
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


class Prefix(msgspec.Struct, frozen=True):
    """A prefix on disk: the name of its file, the conversation that it was computed for (empty: it is the beginning of
    several), its length in tokens, and the size and checksum (CRC-32) of the file."""

    name: str
    conversation: str
    tokens: int
    size: int
    checksum: int


class Found(msgspec.Struct, frozen=True):
    """What there is of a prompt. `whole` is the longest prefix all of which the prompt begins with. `branch` is one
    that shares `shared` tokens with the prompt, more than any other, and goes on otherwise."""

    whole: Prefix | None = None
    branch: Prefix | None = None
    shared: int = 0


class PrefixStore:
    """The prefixes in a folder, at most `capacity` bytes of them; the least recently used go first. Its methods block
    and may be called from any thread. None of them raises: a disk that fails has nothing and keeps nothing."""

    def __init__(self, folder: str | Path, capacity: int) -> None:
        self._folder = Path(folder)
        self._capacity = capacity
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        # Files that this process has read or written since: they need not be read once more.
        self._checked: dict[str, tuple[int, int]] = {}
        self._swept = time.time()

    def draft(self) -> str:
        """The name of a file in the folder that the engine may write."""
        return _DRAFT + secrets.token_hex(12)

    def discard(self, draft: str) -> None:
        """The draft is of no use."""
        with contextlib.suppress(OSError):
            (self._folder / draft).unlink()

    def keep(self, draft: str, domain: bytes, pages: bytes, tokens: int, conversation: str) -> bool:
        """Take up what the engine has written: the state after so many `tokens`, whose whole `pages` have these hashes.
        Earlier states of the same, which this one goes on from, are let go of. Gives whether it is there now."""
        path, name = self._folder / draft, secrets.token_hex(12)
        try:
            path.chmod(0o600)
            checksum, size = _checksum(path), path.stat().st_size
            if size > self._capacity:
                raise OSError(f"{size} bytes are more than the store may hold")
            path.replace(self._folder / name)
            self._note_checked(name)
            with self._index() as index:
                hashes = _split(pages)
                shorter = _several("SELECT name FROM prefixes WHERE domain = ? AND conversation != '' AND last", hashes)
                names = [row[0] for row in index.execute(shorter, (domain, *hashes))]
                row = (name, domain, hashes[-1], conversation, tokens, size, checksum, time.time())
                index.execute("INSERT INTO prefixes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
                index.executemany("INSERT INTO pages VALUES (?, ?, ?)", [(domain, page, name) for page in hashes])
                names += _oldest(index, self._capacity)
                _forget(index, names)
        except (OSError, sqlite3.Error) as error:
            log.warning("a computed prefix could not be kept in %s: %s", self._folder, error)
            self.discard(draft)
            self.discard(name)
            return False
        self._unlink(names)
        if time.time() - self._swept > _FORGOTTEN:
            self.sweep()
        return True

    def find(self, domain: bytes, pages: bytes) -> Found:
        """What there is of a prompt whose whole pages have these hashes."""
        hashes = _split(pages)
        if not hashes:
            return Found()
        try:
            with self._index() as index:
                longest = _several(f"SELECT {_COLUMNS} FROM prefixes WHERE domain = ? AND last", hashes)
                whole = index.execute(f"{longest} ORDER BY tokens DESC LIMIT 1", (domain, *hashes)).fetchone()
                depth = _depth(index, domain, hashes)
                branch = None
                if depth and (whole is None or whole[2] < depth * PAGE):
                    holding = "SELECT name FROM pages WHERE domain = ? AND page = ?"
                    ask = f"SELECT {_COLUMNS} FROM prefixes WHERE name IN ({holding}) ORDER BY tokens LIMIT 1"
                    branch = index.execute(ask, (domain, hashes[depth - 1])).fetchone()
        except (OSError, sqlite3.Error) as error:
            log.debug("no computed prefix can be looked for in %s: %s", self._folder, error)
            return Found()
        return Found(Prefix(*whole) if whole else None, Prefix(*branch) if branch else None, depth * PAGE)

    def intact(self, prefix: Prefix) -> bool:
        """Whether the file is what it was when it was written; it counts as used now. One that is not is dropped."""
        try:
            status = (self._folder / prefix.name).stat()
            seen = (status.st_size, status.st_mtime_ns)
            same = status.st_size == prefix.size and (
                self._checked.get(prefix.name) == seen or _checksum(self._folder / prefix.name) == prefix.checksum
            )
            if same:
                self._note_checked(prefix.name)
                with self._index() as index:
                    index.execute("UPDATE prefixes SET used = ? WHERE name = ?", (time.time(), prefix.name))
                return True
            log.warning("the computed prefix %s is not what was written; it is dropped", self._folder / prefix.name)
        except (OSError, sqlite3.Error):
            pass  # it is gone, or the disk fails: either way there is nothing to use
        self.drop(prefix)
        return False

    def drop(self, prefix: Prefix) -> None:
        """Forget a prefix, and remove its file."""
        with contextlib.suppress(OSError, sqlite3.Error), self._index() as index:
            _forget(index, [prefix.name])
        self._unlink([prefix.name])

    def held(self) -> int:
        """How many bytes of prefixes there are."""
        try:
            with self._index() as index:
                return int(index.execute("SELECT COALESCE(SUM(size), 0) FROM prefixes").fetchone()[0])
        except (OSError, sqlite3.Error):
            return 0

    def sweep(self) -> None:
        """Make index and folder agree after a crash, and keep to a capacity that has become smaller."""
        self._swept = time.time()
        try:
            with self._index() as index:
                known = {row[0] for row in index.execute("SELECT name FROM prefixes")}
            present = {entry.name for entry in os.scandir(self._folder) if not entry.name.startswith(_INDEX)}
            with self._index() as index:
                names = [*(known - present), *_oldest(index, self._capacity)]
                _forget(index, names)
        except (OSError, sqlite3.Error) as error:
            log.warning("the computed prefixes in %s cannot be looked after: %s", self._folder, error)
            return
        self._unlink(names)
        for name in present - known:
            with contextlib.suppress(OSError):
                if time.time() - (self._folder / name).stat().st_mtime > _FORGOTTEN:
                    (self._folder / name).unlink()

    def close(self) -> None:
        """Let go of the index."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The index, for one thread and one transaction. One that is damaged is made anew, and is empty."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._opened()
                with self._connection as index:
                    yield index
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
                    if self._connection is not None:
                        self._connection.close()
                        self._connection = None
                    for file in self._folder.glob(f"{_INDEX}*"):
                        file.unlink(missing_ok=True)
                raise

    def _opened(self) -> sqlite3.Connection:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / _INDEX
        file.touch(mode=0o600)
        connection = sqlite3.connect(file, timeout=10, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
        return connection

    def _note_checked(self, name: str) -> None:
        status = (self._folder / name).stat()
        self._checked[name] = (status.st_size, status.st_mtime_ns)

    def _unlink(self, names: list[str]) -> None:
        for name in names:
            self._checked.pop(name, None)
            self.discard(name)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _split(pages: bytes) -> list[bytes]:
    return [pages[at : at + HASH] for at in range(0, len(pages), HASH)]


def _several(select: str, values: list[bytes]) -> str:
    return f"{select} IN ({', '.join('?' * len(values))})"


def _depth(index: sqlite3.Connection, domain: bytes, hashes: list[bytes]) -> int:
    """How many leading pages some prefix has in common with the prompt. Each hash is over all before it, and a prefix
    has all its pages in the index: where one is found, all before it are."""
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high + 1) // 2
        ask = "SELECT 1 FROM pages WHERE domain = ? AND page = ? LIMIT 1"
        if index.execute(ask, (domain, hashes[middle - 1])).fetchone():
            low = middle
        else:
            high = middle - 1
    return low


def _oldest(index: sqlite3.Connection, capacity: int) -> list[str]:
    """The least recently used prefixes that are too many."""
    excess = index.execute("SELECT COALESCE(SUM(size), 0) FROM prefixes").fetchone()[0] - capacity
    names = list[str]()
    for name, size in index.execute("SELECT name, size FROM prefixes ORDER BY used") if excess > 0 else ():
        if excess <= 0:
            break
        names.append(name)
        excess -= size
    return names


def _forget(index: sqlite3.Connection, names: list[str]) -> None:
    for table in ("prefixes", "pages"):
        index.executemany(f"DELETE FROM {table} WHERE name = ?", [(name,) for name in names])
