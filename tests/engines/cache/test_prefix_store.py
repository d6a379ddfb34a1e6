"""Computed prefixes on disk: what was kept is found by all that begin alike, and nothing that is damaged is used."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engines.cache.pages import HASH, PAGE, Pages, shared
from antiphon.engines.cache.prefix_store import PrefixStore

MB = 1 << 20
DOMAIN = b"this model"


def tokens(seed: int, pages: int) -> list[int]:
    source = random.Random(seed)
    return [source.randrange(2**31) for _ in range(pages * PAGE)]


def kept(store: PrefixStore, folder: Path, ids: list[int], conversation: str = "a", size: int = 1000) -> bool:
    """Whether the store takes a file of this size for these ids."""
    pages, draft = Pages(DOMAIN, ids), store.draft()
    (folder / draft).write_bytes(random.Random(len(ids)).randbytes(size))
    return store.keep(draft, DOMAIN, pages.hashes, pages.tokens, conversation)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith("index")]


@given(st.lists(st.integers(0, 3 * PAGE), max_size=6))
def test_hashes_do_not_depend_on_how_a_sequence_came(cuts: list[int]) -> None:
    """A sequence that grew has the hashes of the same sequence as a whole."""
    ids, pages, at = tokens(1, 3), Pages(DOMAIN), 0
    for cut in sorted(cuts):
        pages.extend(ids[at:cut])
        at = cut
    pages.extend(ids[at:])
    assert (pages.hashes, pages.tokens) == (Pages(DOMAIN, ids).hashes, len(ids))
    assert shared(pages.hashes, Pages(b"another", ids).hashes) == 0


def test_what_a_prompt_begins_with_is_found(tmp_path: Path) -> None:
    """The longest prefix all of which the prompt begins with; and one that shares more, but goes on otherwise."""
    store = PrefixStore(tmp_path, MB)
    instructions, first, second = tokens(0, 8), tokens(1, 4), tokens(2, 4)
    assert kept(store, tmp_path, instructions, "")
    assert kept(store, tmp_path, [*instructions, *first], "first")
    grown = store.find(DOMAIN, Pages(DOMAIN, [*instructions, *first, *tokens(3, 2)]).hashes)
    assert grown.whole is not None
    assert (grown.whole.tokens, grown.branch) == (12 * PAGE, None)
    other = store.find(DOMAIN, Pages(DOMAIN, [*instructions, *second]).hashes)
    assert other.whole is not None
    assert (other.whole.tokens, other.branch) == (8 * PAGE, None)
    forked = store.find(DOMAIN, Pages(DOMAIN, [*instructions, *first[: 2 * PAGE], *second]).hashes)
    assert forked.whole is not None
    assert forked.branch is not None
    assert (forked.whole.tokens, forked.branch.tokens, forked.shared) == (8 * PAGE, 12 * PAGE, 10 * PAGE)
    assert store.find(DOMAIN, Pages(DOMAIN, tokens(9, 9)).hashes).whole is None
    assert store.find(b"another", Pages(DOMAIN, instructions).hashes).whole is None


def test_a_conversation_takes_the_place_of_its_own_past(tmp_path: Path) -> None:
    """Of a conversation that grows the last state is kept, and the beginning that it shares with others."""
    store = PrefixStore(tmp_path, MB)
    ids = tokens(0, 4)
    kept(store, tmp_path, ids, "")
    for turn in range(1, 4):
        ids = [*ids, *tokens(turn, 1)]
        kept(store, tmp_path, ids)
    assert len(files(tmp_path)) == 2
    assert store.held() == 2000


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    """What lies on disk is what people told a model."""
    folder = tmp_path / "prefixes"
    store = PrefixStore(folder, MB)
    store.sweep()
    kept(store, folder, tokens(0, 4))
    assert {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())} == {0}


def test_the_oldest_go_first(tmp_path: Path) -> None:
    """The store keeps to its capacity; what was used last stays."""
    store = PrefixStore(tmp_path, 3000)
    for seed in range(3):
        kept(store, tmp_path, tokens(seed, 4), str(seed))
    first = store.find(DOMAIN, Pages(DOMAIN, tokens(0, 4)).hashes).whole
    assert first is not None
    assert store.intact(first)
    kept(store, tmp_path, tokens(3, 4), "3")
    there = [bool(store.find(DOMAIN, Pages(DOMAIN, tokens(seed, 4)).hashes).whole) for seed in range(4)]
    assert there == [True, False, True, True]
    assert not kept(store, tmp_path, tokens(4, 4), size=3001)
    assert len(files(tmp_path)) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "grown"])
@pytest.mark.parametrize("same_process", [True, False])
def test_nothing_damaged_is_used(tmp_path: Path, damage: str, same_process: bool) -> None:
    """A file that is not what was written is dropped, also by the process that wrote it."""
    store = PrefixStore(tmp_path, MB)
    kept(store, tmp_path, tokens(0, 4))
    if not same_process:
        store.close()
        store = PrefixStore(tmp_path, MB)
    hashes = Pages(DOMAIN, tokens(0, 4)).hashes
    prefix = store.find(DOMAIN, hashes).whole
    assert prefix is not None
    path, content = tmp_path / prefix.name, (tmp_path / prefix.name).read_bytes()
    os.utime(path, ns=(0, 0))
    assert store.intact(prefix), "a file is known by what is in it, not by its date"
    if damage == "gone":
        path.unlink()
    else:
        changed = {"cut": content[:-1], "flipped": bytes([content[0] ^ 1]) + content[1:], "grown": content + b"x"}
        path.write_bytes(changed[damage])
    assert not store.intact(prefix)
    assert store.find(DOMAIN, hashes).whole is None
    assert not path.exists()


def test_a_full_disk_keeps_nothing(tmp_path: Path) -> None:
    """Where the engine could not write, nothing is taken up, and what was there stays."""
    store = PrefixStore(tmp_path, MB)
    kept(store, tmp_path, tokens(0, 4))
    draft = store.draft()
    pages = Pages(DOMAIN, tokens(1, 4))
    assert not store.keep(draft, DOMAIN, pages.hashes, pages.tokens, "b")
    assert store.find(DOMAIN, Pages(DOMAIN, tokens(0, 4)).hashes).whole is not None


@pytest.mark.parametrize("content", [b"no index at all" * 100, b""])
def test_a_damaged_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    """It is empty then, and keeps what comes."""
    store = PrefixStore(tmp_path, MB)
    kept(store, tmp_path, tokens(0, 4))
    store.close()
    for path in tmp_path.glob("index*"):
        path.write_bytes(content) if path.name == "index.sqlite" else path.unlink()
    store = PrefixStore(tmp_path, MB)
    store.find(DOMAIN, Pages(DOMAIN, tokens(0, 4)).hashes)
    assert kept(store, tmp_path, tokens(0, 4))
    assert store.find(DOMAIN, Pages(DOMAIN, tokens(0, 4)).hashes).whole is not None


def test_an_index_of_another_version_is_made_anew(tmp_path: Path) -> None:
    """One that has other columns is not understood."""
    with sqlite3.connect(tmp_path / "index.sqlite") as index:
        index.execute("CREATE TABLE prefixes (domain, last, used, size)")
    store = PrefixStore(tmp_path, MB)
    kept(store, tmp_path, tokens(0, 4))
    assert kept(store, tmp_path, tokens(0, 4))


def test_two_servers_share_a_folder(tmp_path: Path) -> None:
    """What one keeps the other finds; what one drops is gone for the other too."""
    one, other = PrefixStore(tmp_path, MB), PrefixStore(tmp_path, MB)
    hashes = Pages(DOMAIN, tokens(0, 4)).hashes
    assert other.find(DOMAIN, hashes).whole is None
    kept(one, tmp_path, tokens(0, 4))
    prefix = other.find(DOMAIN, hashes).whole
    assert prefix is not None
    assert other.intact(prefix)
    other.drop(prefix)
    assert one.find(DOMAIN, hashes).whole is None
    assert not one.intact(prefix)


def test_sweeping_mends_what_a_crash_left(tmp_path: Path) -> None:
    """Files without a row go when they are old, rows without a file at once, and a smaller capacity is kept to."""
    store = PrefixStore(tmp_path, MB)
    for seed in range(3):
        kept(store, tmp_path, tokens(seed, 4), str(seed))
    lost = store.find(DOMAIN, Pages(DOMAIN, tokens(0, 4)).hashes).whole
    assert lost is not None
    (tmp_path / lost.name).unlink()
    old, new = tmp_path / store.draft(), tmp_path / store.draft()
    old.write_bytes(b"left behind")
    new.write_bytes(b"being written")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    PrefixStore(tmp_path, 1500).sweep()
    assert store.held() == 1000
    assert (old.exists(), new.exists()) == (False, True)
    assert store.find(DOMAIN, Pages(DOMAIN, tokens(0, 4)).hashes).whole is None


def test_a_store_that_is_used_is_swept_every_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an engine left behind half written goes while the server runs, too."""
    store = PrefixStore(tmp_path, MB)
    left = tmp_path / store.draft()
    left.write_bytes(b"half written")
    assert kept(store, tmp_path, tokens(0, 4), "a")
    assert left.exists()
    later = time.time() + 7200
    monkeypatch.setattr(time, "time", lambda: later)
    assert kept(store, tmp_path, tokens(1, 4), "b")
    assert not left.exists()
    assert store.held() == 2000


def test_a_store_of_very_many_files(tmp_path: Path) -> None:
    """It is swept, searched and added to like a small one (`PREFIX_FILES` sets how many; 100,000 were tried)."""
    count, store = int(os.environ.get("PREFIX_FILES", "3000")), PrefixStore(tmp_path, 1000 * MB)
    kept(store, tmp_path, tokens(0, 4))
    with sqlite3.connect(tmp_path / "index.sqlite") as index:
        for number in range(count):
            name = f"{number:024x}"
            (tmp_path / name).touch()
            index.execute(
                "INSERT INTO prefixes VALUES (?, ?, ?, 'x', 64, 10, 0, ?)", (name, DOMAIN, name.encode(), number)
            )
            index.execute("INSERT INTO pages VALUES (?, ?, ?)", (DOMAIN, name.encode(), name))
    (tmp_path / f"{0:024x}").unlink()
    store.sweep()
    assert store.held() == 1000 + 10 * (count - 1)
    assert store.find(DOMAIN, Pages(DOMAIN, tokens(0, 4)).hashes).whole is not None
    assert kept(store, tmp_path, tokens(1, 4), "b")
    PrefixStore(tmp_path, 2000).sweep()
    assert store.held() == 2000
    assert len(files(tmp_path)) == 2


def test_a_hash_is_as_long_as_it_says() -> None:
    """One hash for each whole page."""
    assert len(Pages(DOMAIN, tokens(0, 5)).hashes) == 5 * HASH
