"""Keys in the store, and what a worker makes of them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from antiphon.accounts.key_store import KeyStore, NameTaken, UnknownKey
from antiphon.accounts.keyring import Keyring
from antiphon.accounts.keys import Allowance, Key
from antiphon.settings.keys import hashed
from antiphon.storage.records import Records, RecordsFailed

RIGHTS = {"models": ("qwen*",), "allowance": Allowance(requests=5), "budget": 1000, "expires": 2e9, "admin": True}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database in a file."""
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


@pytest.fixture
def store(url: str) -> Iterator[KeyStore]:
    """The keys in it; none yet."""
    records = Records(url)
    yield KeyStore(records)
    records.close()


async def test_a_key_is_found_by_its_secret_with_its_rights(store: KeyStore) -> None:
    """What was added is found by another store of the same place, with all that was said of it."""
    added, secret = store.add("alice", **RIGHTS)
    keys = Keyring()
    await keys.load(store)
    found = keys.find(secret)
    assert found == added == store.find("alice") == store.find(added.label) == store.find(added.id)
    assert {name: getattr(found, name) for name in RIGHTS} == RIGHTS
    assert keys.find(secret + "x") is None
    assert keys.find("") is None


def test_the_disk_holds_no_secret(store: KeyStore, tmp_path: Path) -> None:
    """Neither the secret nor its random part is in any file of the database, its hash is."""
    _, secret = store.add("alice")
    _, second = store.rotate("alice")
    bytes_ = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for each in (secret, second):
        assert hashed(each) in bytes_
        assert each.encode() not in bytes_
        assert each.rpartition("-")[2].encode() not in bytes_


async def test_changes_reach_a_worker_that_has_loaded(store: KeyStore) -> None:
    """Rights, revocation and a new secret replace what was known, and a look without changes brings nothing."""
    _, secret = store.add("alice")
    store.add("bob")
    keys = Keyring()
    await keys.load(store)
    store.change("alice", budget=7)
    await keys.load(store)
    assert (found := keys.find(secret))
    assert found.budget == 7
    _, second = store.rotate("alice")
    await keys.load(store)
    assert keys.find(secret) is None
    assert (again := keys.find(second))
    assert again.label == found.label
    store.revoke("alice")
    await keys.load(store)
    assert (gone := keys.find(second))
    assert keys.status(gone) == "revoked"
    assert store.changes(store.changes(-1)[0]) == (store.changes(-1)[0], [])


async def test_an_exchanged_secret_works_for_as_long_as_it_was_given(store: KeyStore) -> None:
    """The old one beside the new one until its time is over; a second exchange does not prolong it."""
    now = time.time()
    _, first = store.add("alice")
    _, second = store.rotate("alice", overlap=3600)
    store.rotate("alice", overlap=7200)
    for moment, works in ((now + 3000, [True, True]), (now + 5000, [False, True]), (now + 8000, [False, False])):
        keys = Keyring(clock=lambda moment=moment: moment)
        await keys.load(store)
        assert [keys.find(secret) is not None for secret in (first, second)] == works


def test_names_are_unique_among_keys_in_use(store: KeyStore) -> None:
    """A name is free again once its key was revoked; what is unknown is said to be."""
    first, _ = store.add("alice")
    with pytest.raises(NameTaken):
        store.add("alice")
    store.revoke("alice")
    second, _ = store.add("alice")
    assert first.label != second.label
    assert store.find("alice") == second
    for act in (store.find, store.revoke, store.rotate):
        with pytest.raises(UnknownKey):
            act("nobody")


def test_keys_are_added_in_two_places_at_once(store: KeyStore, url: str) -> None:
    """None is lost, and no number or revision is given twice."""

    def add(place: str) -> None:
        records = Records(url)
        for number in range(10):
            KeyStore(records).add(f"{place} {number}")
        records.close()

    with ThreadPoolExecutor() as pool:
        list(pool.map(add, "ab"))
    assert [key.number for key in store.all()] == list(range(1, 21))
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT count(DISTINCT revision) FROM api_keys").fetchone() == (20,)


async def test_a_look_that_is_answered_late_brings_nothing_back(store: KeyStore) -> None:
    """Of two looks at once the one that saw the newer keys decides, in whichever order they are answered."""
    _, secret = store.add("alice")
    looked, revoked = threading.Event(), threading.Event()

    class Slow(KeyStore):
        def changes(self, revision: int) -> tuple[int, list[Key]]:
            found = super().changes(revision)
            looked.set()
            assert revoked.wait(60)
            return found

    keys = Keyring()
    late = asyncio.ensure_future(keys.load(Slow(store._records)))
    await asyncio.to_thread(looked.wait, 60)
    store.revoke("alice")
    await keys.load(store)
    revoked.set()
    await late
    assert (key := keys.find(secret))
    assert keys.status(key) == "revoked"


async def test_a_server_that_had_keys_does_not_open_when_they_are_gone(store: KeyStore) -> None:
    """None required while there never was one; required after the last was revoked, and while it is unknown."""
    keys = Keyring()
    await keys.load(store)
    assert store.untouched
    assert not keys.required
    store.add("alice")
    store.revoke("alice")
    await keys.load(store)
    assert keys.required
    assert not Keyring(open=True).required


async def test_a_store_that_cannot_be_read_opens_nothing(tmp_path: Path) -> None:
    """A worker that never learnt the keys lets nobody in; one that did goes on with them."""
    file = tmp_path / "store.sqlite"
    file.write_bytes(b"no database" * 1000)
    records = Records(f"sqlite:///{file}")
    keys = Keyring()
    with pytest.raises(RecordsFailed):
        await keys.load(KeyStore(records))
    assert keys.required
    assert keys.unread
    records.close()


def test_numbers_of_settings_and_store_do_not_meet() -> None:
    """Each key has a place of its own among all."""
    keys = Keyring((hashed("a"), hashed("b")))
    keys.take([Key(label="managed", number=1, name="alice")])
    fixed = [key.label for secret in "ab" if (key := keys.find(secret))]
    assert sorted(map(keys.place, [*fixed, "managed", "", "unknown"])) == [0, 0, 1, 2, 3]
