"""Usage adds up: in the store, over journals of workers that died, and while somebody reads it."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from antiphon.accounts.budgets import Budgets
from antiphon.accounts.keyring import Keyring
from antiphon.accounts.keys import Key
from antiphon.accounts.ledger import Journal, Ledger, take_over
from antiphon.accounts.report import report
from antiphon.accounts.usage import DAY, HOUR, Cell, Counts, Entry
from antiphon.accounts.usage_store import UsageStore
from antiphon.api.errors import BudgetSpent
from antiphon.storage.records import Records
from tests.storage.places import Place

NOW = 1_800_000_000
"""In January 2027."""
ALL = (0, 2 * NOW)
LARGE = b'[1800000000,"a","m","standard",[1,0,9223372036854775807]]'
"""Larger than a sum in a database may become."""


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    """A database in a file."""
    records = Records(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield records
    records.close()


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    """The folder of journals, which is not there yet."""
    return tmp_path / "journals"


def entry(number: int, key: str = "a", *, whole: bool = True) -> Entry:
    counts = Counts(requests=int(whole), broken=int(not whole), input=number, output=2 * number, cached=3)
    return Entry(NOW + number, key, f"model {number % 2}", "standard", counts)


def total(cells: dict[Cell, Counts], *, whole: bool = False) -> Counts:
    lines = report(cells, (), whole=whole)
    return lines[0].counts if lines else Counts()


def expected(entries: list[Entry]) -> Counts:
    found = Counts()
    for each in entries:
        found = found.plus(each.counts)
    return found


async def test_what_was_entered_is_read_before_and_after_it_is_added(records: Records, journals: Path) -> None:
    """A reader beside the worker sees all of it at any time, once; so does one after the worker has ended, which leaves
    no journal."""
    store = UsageStore(records)
    ledger, entries = Ledger(store, journals), [entry(number) for number in range(20)]
    for number, each in enumerate(entries, 1):
        ledger.enter(each)
        assert total(store.cells(journals, *ALL)) == expected(entries[:number])
        if number % 7 == 0:
            await ledger.commit()
            assert total(store.cells(journals, *ALL)) == expected(entries[:number])
    await ledger.close()
    assert os.listdir(journals) == []
    assert total(store.cells(journals, *ALL)) == expected(entries)


def test_the_journal_of_a_dead_worker_counts_once(records: Records, journals: Path) -> None:
    """However often somebody died between adding it and removing it; half a line at its end counts for nothing; that of
    a living worker is left alone."""
    store, entries = UsageStore(records), [entry(number) for number in range(5)]
    dead, living = Journal(journals), Journal(journals)
    for each in entries:
        dead.add(each)
    living.add(entry(7))
    store.take(dead.path)
    dead.add(entry(6))
    os.write(dead._lines._handle, b'[1800000000,"a","model 1","stan')
    dead.close()
    for _ in range(2):
        take_over(store, journals)
        assert total(store.cells(journals, *ALL)) == expected([*entries, entry(6), entry(7)])
    assert [path.name for path in journals.iterdir()] == [living.path.name]
    living.close()


@pytest.mark.parametrize(
    "line", [b'[1,"a","m"\0\0\0', b"\0" * 5000, b"\xff", b"[" * 9000, b"", b'{"a":1}', b"\r", LARGE]
)
async def test_a_line_that_cannot_be_read_costs_no_other(
    records: Records, journals: Path, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    """Those before and behind it are counted, once, by reports and by workers, and the operator is told once."""
    store, dead, ledger = UsageStore(records), Journal(journals), Ledger(UsageStore(records), journals)
    dead.add(entry(1))
    dead._lines.add(line)
    dead.add(entry(2))
    dead.close()
    ledger.enter(entry(3))
    once = expected([entry(n) for n in (1, 2, 3)])
    assert total(store.cells(journals, *ALL)) == once
    for _ in range(2):
        take_over(store, journals)
        await ledger.commit()
        assert total(store.cells(journals, *ALL)) == once
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 1
    await ledger.close()


async def test_whatever_fails_is_tried_again(
    records: Records, journals: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of any kind while usage is added costs none of it, and the operator is told once: what comes is added
    once it can be, and does not wait for what a dead worker left."""
    monkeypatch.setattr("antiphon.accounts.ledger.INTERVAL", 0.001)
    store, dead = UsageStore(records), Journal(journals)
    dead.add(entry(1))
    dead.close()
    ledger, take = Ledger(store, journals), store.take
    ledger.enter(entry(2))
    broken = {journals / name for name in os.listdir(journals)}

    def taken(journal: Path) -> int:
        if journal in broken:
            raise ValueError("nobody expected this")
        return take(journal)

    monkeypatch.setattr(store, "take", taken)
    tending = asyncio.create_task(ledger.tend())
    await asyncio.sleep(0.01)
    broken &= {dead.path}
    while not ledger.committed["a"] and not tending.done():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    broken.clear()
    while len(os.listdir(journals)) > 1 and not tending.done():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert tending.cancel()
    await asyncio.gather(tending, return_exceptions=True)
    await ledger.close()
    assert total(store.cells(journals, *ALL)) == expected([entry(1), entry(2)])
    assert len([record for record in caplog.records if "usage could not be added" in record.message]) == 1


async def test_a_request_of_a_batch_counts_once(place: Place, journals: Path) -> None:
    """However often it was asked, by one worker or by several, of which some died before they were added; at any time,
    and for as long as it is remembered."""
    records = Records(place.records)
    store, batch = UsageStore(records), os.urandom(4).hex()
    before = total(store.cells(journals, *ALL))
    batched = [msgspec.structs.replace(entry(number), tier="batch", id=f"{batch}/{number}") for number in range(4)]
    dead, ledger = Journal(journals), Ledger(store, journals)
    for each in (entry(9), *batched[:3], batched[0]):
        dead.add(each)
    dead.close()
    once = before.plus(expected([entry(9), *batched]))
    for number in (2, 3, 0, 3):
        ledger.enter(batched[number])
    assert total(store.cells(journals, *ALL)) == once
    await ledger.commit()
    assert total(store.cells(journals, *ALL)) == once
    take_over(store, journals)
    ledger.enter(batched[1])
    await ledger.close()
    assert os.listdir(journals) == []
    assert total(store.cells(journals, *ALL)) == once
    later = Ledger(store, journals)
    for number in (0, 60 * DAY, 0):
        later.enter(msgspec.structs.replace(batched[0], time=NOW + number))
        await later.commit()
    await later.close()
    assert total(store.cells(journals, *ALL)) == once.plus(batched[0].counts)
    records.close()


def test_workers_that_add_the_same_requests_at_once(place: Place, journals: Path) -> None:
    """Each request counts for one of them, and none waits for another for ever."""
    records = Records(place.records)
    store, batch = UsageStore(records), os.urandom(4).hex()
    before = total(store.cells(journals, *ALL))
    entries = [msgspec.structs.replace(entry(number), id=f"{batch}/{number}") for number in range(30)]
    written = [Journal(journals) for _ in range(4)]
    for seed, journal in enumerate(written):
        for each in random.Random(seed).sample(entries, len(entries)):
            journal.add(each)
    with ThreadPoolExecutor() as pool:
        list(pool.map(store.take, [journal.path for journal in written]))
    assert total(store.cells(journals, *ALL)) == before.plus(expected(entries))
    for journal in written:
        journal.close()
    records.close()


def test_usage_of_an_earlier_server_is_taken_over(records: Records, journals: Path, tmp_path: Path) -> None:
    """Tables and journals from before entries had ids: what they have is there, and what comes counts."""
    store, journal = UsageStore(records), Journal(journals)
    line = b'[1800000005,"a","model 1","batch",[1,0,5,0,3,10]]\n'
    os.write(journal._lines._handle, line)
    store.take(journal.path)
    records.close()
    with sqlite3.connect(tmp_path / "store.sqlite") as earlier:
        earlier.execute("DROP TABLE usage_once")
        earlier.execute("UPDATE table_sets SET version = 1 WHERE name = 'usage'")
    os.write(journal._lines._handle, line)
    journal.add(msgspec.structs.replace(entry(5), id="b/1"))
    later = Records(f"sqlite:///{tmp_path / 'store.sqlite'}")
    UsageStore(later).take(journal.path)
    journal.close()
    assert total(UsageStore(later).cells(journals, *ALL)).requests == 3
    later.close()


async def test_a_long_journal_gives_way(records: Records, journals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a new one once it was added, and nothing is lost or counted twice by that; readers in between see the same."""
    monkeypatch.setattr("antiphon.accounts.ledger._LONGEST", 200)
    store = UsageStore(records)
    ledger, entries, names = Ledger(store, journals), [entry(number) for number in range(30)], set()
    with ThreadPoolExecutor() as pool:
        for each in entries:
            ledger.enter(each)
            names |= set(os.listdir(journals))
            reading = asyncio.get_running_loop().run_in_executor(pool, store.cells, journals, *ALL)
            await ledger.commit()
            assert total(await reading).requests <= each.counts.input + 1
    assert len(names) > 3
    await ledger.close()
    assert total(store.cells(journals, *ALL)) == expected(entries)


async def test_a_disk_that_is_full_costs_nothing_that_was_used(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be written is kept until it can; the operator is told once."""
    place = tmp_path / "place"
    place.write_text("a file where the folder should be")
    ledger = Ledger(UsageStore(records), place / "journals")
    for number in range(5):
        ledger.enter(entry(number))
    assert len([record for record in caplog.records if "usage cannot be kept" in record.message]) == 1
    place.unlink()
    await ledger.commit()
    assert total(UsageStore(records).cells(place / "journals", *ALL)) == expected([entry(n) for n in range(5)])
    await ledger.close()


async def test_reports_tell_apart_what_they_are_asked_to(records: Records, journals: Path) -> None:
    """By hour, day, key and model, within a period; replies that broke off are left out where whole ones are meant."""
    store = UsageStore(records)
    ledger = Ledger(store, journals)
    entries = [entry(number * HOUR // 2, "ab"[number % 2], whole=number % 3 > 0) for number in range(100)]
    for each in entries:
        ledger.enter(each)
    await ledger.commit()
    for by in (("hour",), ("day", "key"), ("key", "model"), ("tier",), ()):
        lines = report(store.cells(journals, *ALL), by)
        assert expected([Entry(0, "", "", "", line.counts) for line in lines]) == expected(entries)
        assert len({line.place for line in lines}) == len(lines)
    assert total(store.cells(journals, *ALL), whole=True) == expected([each for each in entries if each.whole])
    middle = NOW // HOUR * HOUR + 10 * HOUR
    assert total(store.cells(journals, middle, 2 * NOW)) == expected([e for e in entries if e.time >= middle])
    await ledger.close()


async def test_a_budget_ends_with_its_month(records: Records, journals: Path) -> None:
    """A key is let in until the tokens that were computed for it reach its budget, whoever counted them; the sentence
    says how much that was and when it begins anew; other keys do not notice; the next month is another one."""
    now = float(NOW)
    keys, store = Keyring(), UsageStore(records)
    keys.take([Key(label="a", number=1, name="alice", budget=30), Key(label="b", number=2, name="bob")])
    mine, other = Ledger(store, journals), Ledger(store, journals)
    budgets = Budgets(keys, store, mine, clock=lambda: now)
    other.enter(entry(5))
    await other.commit()
    await budgets.check("a")
    mine.enter(entry(4))
    await budgets.check("a")
    await mine.commit()
    await budgets.check("a")
    mine.enter(entry(1))
    message = r"'alice' has spent 30 of its 30 tokens for January 2027; its budget starts again at 2027-02-01T00:00:00Z"
    with pytest.raises(BudgetSpent, match=message):
        await budgets.check("a")
    mine.enter(entry(1000, "b"))
    await budgets.check("b")
    now += 31 * 24 * HOUR
    await Budgets(keys, store, Ledger(store, journals), clock=lambda: now).check("a")
    for ledger in (mine, other):
        await ledger.close()
