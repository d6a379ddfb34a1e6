"""What is in batches gets done, once, whatever happens on the way: over each kind of store and an application of a few
lines."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from antiphon.batches import requests
from antiphon.batches.journal import Journal
from antiphon.batches.queue import ClaimLost, Queue, Share
from antiphon.batches.store import KEPT, LIFETIME, Batch, BatchStore
from antiphon.batches.tables import ANSWERS, BATCHES, SHARES, TABLES
from antiphon.batches.tables import ATTEMPTS as BEGUN
from antiphon.batches.worker import ATTEMPTS
from antiphon.storage.store import Store, open_store
from tests.batches.working import OWNER, Application, answering, ended, kept, working
from tests.faults.processes import eventually
from tests.storage.places import Place


@pytest.fixture
def each_store(place: Place) -> Iterator[Store]:
    """Each kind of store."""
    store = open_store(place.records, place.contents)
    yield store
    for table in (BATCHES, SHARES, ANSWERS, BEGUN):
        store.records.run(TABLES, lambda one, table=table: one.execute(table.delete()))
    store.close()


async def rows(store: Store, table: Any) -> int:
    return await store.records.read(TABLES, lambda one: one.scalar(select(func.count()).select_from(table))) or 0


async def claimed(store: Store, lease: float = 15.0) -> Share:
    """A share, of whoever is never heard of again."""
    queue = Queue(store, lease)
    (batch,) = await queue.waiting()
    share = await queue.claim(batch)
    assert share is not None
    return share


async def test_every_request_is_answered_by_the_application(each_store: Store) -> None:
    """Good answers and refusals become results; no more run at once than there is room for; the key is the batch's; and
    of what was needed on the way nothing is left."""
    application = Application(
        lambda text: (200, {"said": text}) if text != "bad" else (400, {"type": "error"}), delay=0.01
    )
    await kept(each_store, ["bad", *(str(n) for n in range(40))])
    async with working(each_store, application, most=3):
        found = await ended(each_store)
    assert found["n0"] == {"type": "errored", "error": {"type": "error"}}
    assert found["n5"] == {"type": "succeeded", "message": {"said": "4"}}
    assert (application.most, application.keys) == (3, {OWNER})
    assert [await rows(each_store, table) for table in (SHARES, ANSWERS, BEGUN)] == [0, 0, 0]
    # The store may have other tests' batches, too.
    assert len([name for name in await each_store.contents.names("batches", -10) if "msgbatch_a." in name]) == 1


async def test_workers_divide_a_batch(each_store: Store) -> None:
    """Several workers on one store, as of several servers, ask for each request once, and each does some."""
    first, second = (Application(lambda text: (200, {}), delay=0.01) for _ in range(2))
    await kept(each_store, [str(n) for n in range(80)])
    async with working(each_store, first), working(each_store, second), working(each_store, first):
        await ended(each_store)
    assert Counter(first.asked + second.asked) == Counter(str(n) for n in range(80))
    assert first.asked
    assert second.asked


async def test_what_was_claimed_by_the_dead_is_taken_over(each_store: Store) -> None:
    """After the time of a claim, and not before; what was answered under it stays answered."""
    await kept(each_store, [str(n) for n in range(20)])
    dead = await claimed(each_store, lease=1.0)
    journal = Journal(each_store.records)
    await journal.answer(dead, "n0", {"type": "succeeded", "message": {"said": "by the dead"}})
    application = answering()
    async with working(each_store, application):
        found = await ended(each_store)
    assert found["n0"]["message"] == {"said": "by the dead"}
    assert sorted(application.asked) == sorted(str(n) for n in range(1, 20))


async def test_a_claim_that_is_lost_writes_nothing(each_store: Store) -> None:
    """Whoever comes back after its time finds its writes refused, and the results are those of its successor."""
    await kept(each_store, ["0"])
    slow = await claimed(each_store, lease=0.0)
    journal, queue = Journal(each_store.records), Queue(each_store)
    await asyncio.sleep(0.01)
    successor = await queue.claim(slow.batch)
    assert successor is not None
    for write in (journal.begin(slow, "n0"), journal.answer(slow, "n0", {"type": "succeeded", "message": 1})):
        with pytest.raises(ClaimLost):
            await write
    await queue.renew([slow])
    await queue.finish(slow)
    await queue.leave(slow)
    await journal.answer(successor, "n0", {"type": "succeeded", "message": 2})
    await journal.answer(successor, "n0", {"type": "succeeded", "message": 3})
    await queue.finish(successor)
    async with working(each_store, answering()):
        assert (await ended(each_store))["n0"]["message"] == 2


async def test_a_claim_lasts_while_it_is_renewed(store: Store) -> None:
    """A request that takes longer than the time of a claim is asked once."""
    await kept(store, ["slow"])
    first, second = answering(delay=2.5), answering()
    async with working(store, first, lease=1.0):
        await eventually(lambda: first.asked)
        async with working(store, second, lease=1.0):
            await ended(store)
    assert (first.asked, second.asked) == (["slow"], [])


async def test_claims_are_renewed_again_after_an_unforeseen_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal that fails of anything is not the last one."""
    renew, renewed = Queue.renew, list[int]()

    async def failing_once(queue: Queue, shares: Iterable[Share]) -> None:
        renewed.append(1)
        if len(renewed) == 1:
            raise RuntimeError("a fault")
        await renew(queue, shares)

    monkeypatch.setattr(Queue, "renew", failing_once)
    async with working(store, answering(), lease=0.3):
        await eventually(lambda: len(renewed) > 2)


async def test_what_cannot_be_answered_now_is_asked_again(store: Store) -> None:
    """529 and 429 never become results; what fails on the server's side does after a few attempts, or at once where the
    server says that it must not be sent again."""
    seen = Counter[str]()

    def reply(text: str) -> tuple[int, dict[str, Any]]:
        seen[text] += 1
        if text in ("dead", "lost"):
            return 500, {"type": "error", "final": text == "lost"}
        return ((529, 429)[seen[text] % 2], {}) if seen[text] < 6 else (200, {})

    await kept(store, ["busy", "dead", "lost"])
    async with working(store, Application(reply)):
        found = await ended(store)
    assert [found[f"n{n}"]["type"] for n in range(3)] == ["succeeded", "errored", "errored"]
    assert seen == {"busy": 6, "dead": ATTEMPTS, "lost": 1}


async def test_a_key_that_must_wait_keeps_no_other_waiting(store: Store) -> None:
    """What the limits of one key put off leaves its place to the batches of others, and no more of it is begun until it
    is asked again."""
    reply = (429, {})
    application = Application(lambda text: reply if text.startswith("much") else (200, {}), wait=30)
    await kept(store, [f"much {n}" for n in range(40)], created=1, id="msgbatch_b", owner="greedy")
    async with working(store, application, most=2):
        await eventually(lambda: len(application.asked) == 2)
        await kept(store, [str(n) for n in range(20)])
        await ended(store)
    assert Counter(application.asked) == Counter([f"much {n}" for n in range(2)] + [str(n) for n in range(20)])


async def test_what_was_put_off_goes_on(store: Store) -> None:
    """A key whose limits let a few requests pass at a time comes to the end of its batch, with no more at once than
    there is room for."""
    asked = Counter[str]()

    def reply(text: str) -> tuple[int, dict[str, Any]]:
        asked[text] += 1
        return (429, {}) if asked.total() % 3 else (200, {})

    application = Application(reply, delay=0.001, wait=0.01)
    await kept(store, [str(n) for n in range(30)])
    async with working(store, application, most=3):
        found = await ended(store)
    assert {result["type"] for result in found.values()} == {"succeeded"}
    assert application.most == 3


async def test_who_comes_next_goes_on_where_the_last_one_was_cut_off(store: Store) -> None:
    """A worker ends in the middle: every request has one result, and none that had one is asked again."""
    application = answering(delay=0.02)
    await kept(store, [str(n) for n in range(30)])
    async with working(store, application, most=2):
        await eventually(lambda: len(application.asked) > 6)
    had = await rows(store, ANSWERS)
    assert 0 < had < 30
    later = answering()
    async with working(store, later):
        await ended(store)
    assert len(later.asked) == 30 - had


async def test_nobody_wants_the_rest(each_store: Store) -> None:
    """Cancelled: what runs is stopped, what has not begun never does, and all of it is told."""
    application = Application(lambda text: (200, {}), delay=60)
    await kept(each_store, [str(n) for n in range(40)])
    async with working(each_store, application, most=2):
        await eventually(lambda: application.running == 2)
        await BatchStore(each_store).cancel("msgbatch_a")
        found = await ended(each_store)
    assert (len(application.asked), application.running) == (2, 0)
    assert {result["type"] for result in found.values()} == {"canceled"}


async def test_the_time_is_over(store: Store) -> None:
    """What is left after a day expires."""
    await kept(store, ["1", "2"], created=LIFETIME + 1)
    async with working(store, Application(lambda text: (200, {}), delay=60)):
        found = await ended(store)
    assert {result["type"] for result in found.values()} == {"expired"}


async def test_lines_that_cannot_be_read_cost_their_own_requests(store: Store, tmp_path: Path) -> None:
    """Broken, without an id or lost altogether: each is told as an error that says so, the others are answered."""
    batch = await kept(store, [str(n) for n in range(6)])
    file = tmp_path / "contents" / str(batch.requests)
    lines = file.read_bytes().splitlines()
    lines[1] = b'{"custom_id":"n1","params":{"say"'.ljust(len(lines[1]))
    lines[2] = b"\0" * len(lines[2])
    file.write_bytes(b"\n".join(lines[:5]) + b"\n" + lines[5][:20])
    application = answering()
    async with working(store, application):
        found = await ended(store)
    assert sorted(application.asked) == ["0", "3", "4"]
    for id, words in (("n1", "cannot be read"), ("requests.2", "cannot be read"), ("requests.0", "has lost it")):
        assert (found[id]["type"], words in found[id]["error"]["why"]) == ("errored", True)


@pytest.mark.parametrize("given_up", [False, True])
async def test_requests_that_are_gone_are_told(store: Store, given_up: bool) -> None:
    """A batch whose requests somebody took away ends all the same."""
    batch = await kept(store, [str(n) for n in range(20)])
    await store.contents.delete(str(batch.requests))
    if given_up:
        await BatchStore(store).cancel(batch.id)
    async with working(store, answering()):
        found = await ended(store)
    assert {result["type"] for result in found.values()} == {"canceled" if given_up else "errored"}


async def test_an_application_that_breaks_costs_one_request(store: Store) -> None:
    """An exception, an answer that is no JSON and one that spans lines: one result each, on a line of its own."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        say = json.loads((await receive())["body"])["say"]
        if say == "raise":
            raise KeyError(say)
        body = b"<html>" if say == "html" else b'{\r\n  "said": "x"\n}'
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    await kept(store, ["raise", "html", "fine"])
    async with working(store, application):
        found = await ended(store)
    assert [found[f"n{n}"]["type"] for n in range(3)] == ["errored", "errored", "succeeded"]
    assert "not JSON" in found["n1"]["error"]["why"]
    assert found["n2"]["message"] == {"said": "x"}


async def test_a_claim_that_fails_does_not_cut_off_what_runs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are at work while the next share cannot be claimed come to their end, and are asked once."""
    application, claim, calls = answering(delay=0.1), Queue.claim, 0

    async def failing(queue: Queue, batch: Batch) -> Share | None:
        nonlocal calls
        calls += 1
        if calls != 2:
            return await claim(queue, batch)
        await eventually(lambda: application.running)
        raise OSError

    monkeypatch.setattr(Queue, "claim", failing)
    await kept(store, ["1", "2", "3"])
    async with working(store, application):
        await ended(store)
    assert sorted(application.asked) == ["1", "2", "3"]


async def test_a_request_that_the_server_dies_of_is_given_up(store: Store) -> None:
    """What was running when the server died goes on alone, after all others, and is not begun again after a few
    deaths; what was let go of in good order is not counted."""
    await kept(store, ["deadly", "beside it", "fine", "let go"])
    journal = Journal(store.records)
    for n in range(ATTEMPTS):
        share = await claimed(store, lease=0.0)
        for id in ("n0", "n0", *["n1"] * (n == 0)):
            await journal.begin(share, id)
        await asyncio.sleep(0.01)
        orderly = await claimed(store)
        await journal.begin(orderly, "n3")
        await Queue(store).leave(orderly)
    application = answering(delay=0.02)
    async with working(store, application):
        found = await ended(store)
    assert application.asked == ["fine", "let go", "beside it"]
    assert f"died {ATTEMPTS} times" in found["n0"]["error"]["why"]


async def test_a_worker_that_is_asked_to_stop_blames_nobody(store: Store) -> None:
    """However often it is stopped in the middle of a request, that is begun again, and at once."""
    slow = Application(lambda text: (200, {}), delay=60)
    await kept(store, ["slow"])
    for n in range(ATTEMPTS + 1):
        async with working(store, slow):
            await eventually(lambda n=n: len(slow.asked) == n + 1)
    assert await rows(store, BEGUN) == 0


async def test_a_large_batch_has_many_shares(store: Store) -> None:
    """Few enough to be counted, small enough to be in memory; every request is in one of them."""
    lines = [b"x" * size for size in (10, 2 << 20, 10, 3 << 20, *[100] * 100)]
    left, found = iter(lines), list[list[bytes]]()
    while share := requests.cut(left, 10_000):
        found.append(share)
    assert [line for share in found for line in share] == lines
    assert [len(share) for share in found] == [2, 2, 39, 39, 22]


async def test_what_is_old_is_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that has ended long ago, and contents that no batch names; nothing else."""
    batches = BatchStore(store)
    for age, id in ((KEPT + 1, "msgbatch_old"), (10.0, "msgbatch_new")):
        await kept(store, ["0"], created=age, id=id)
    running = await kept(store, ["0"], id="msgbatch_running")
    await store.records.write(TABLES, lambda one: one.execute(BATCHES.update().values(ended=1.0)))
    await store.records.write(
        TABLES, lambda one: one.execute(BATCHES.update().where(BATCHES.c.id == running.id).values(ended=None))
    )
    monkeypatch.setattr("antiphon.batches.store._LEFT_BEHIND", -10)
    await batches.sweep()
    assert [batch.id for batch in await batches.all(OWNER)] == ["msgbatch_running", "msgbatch_new"]
    assert [os.path.basename(name) for name in sorted(await store.contents.names("batches", -10))] == [
        "msgbatch_new.requests",
        "msgbatch_running.requests",
    ]


async def test_a_sweep_that_fails_is_not_the_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it fails of."""
    swept = asyncio.Event()
    failures: list[Exception] = [ValueError("bad"), OSError("full")]

    async def sweep(_: BatchStore) -> None:
        if failures:
            raise failures.pop()
        swept.set()

    monkeypatch.setattr(BatchStore, "sweep", sweep)
    monkeypatch.setattr("antiphon.batches.worker._SWEEP", 0)
    async with working(store, answering()):
        await asyncio.wait_for(swept.wait(), 30)
