"""What is in batches gets done, once, whatever happens on the way: over a store on disk and an application of a few
lines."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from antiphon.batches.store import LIFETIME, About, Batch, Store, Work
from antiphon.batches.worker import ATTEMPTS, INSIDE, Worker
from tests.faults.processes import eventually

Reply = Callable[[str], tuple[int, dict[str, Any]]]


class Application:
    """Answers `params.say` as told, and takes down what it was asked, how many at once, and for whose key."""

    def __init__(self, reply: Reply, delay: float = 0.0) -> None:
        self.asked: list[str] = []
        self.keys: set[str] = set()
        self.running = self.most = 0
        self._reply = reply
        self._delay = delay

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        text = json.loads((await receive())["body"])["say"]
        self.asked.append(text)
        self.keys.add(scope[INSIDE])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self._delay)
        finally:
            self.running -= 1
        status, body = self._reply(text)
        await send({"type": "http.response.start", "status": status, "headers": [(b"retry-after", b"0")]})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def kept(store: Store, texts: list[str], *, created: float = 0.0, id: str = "msgbatch_a") -> Batch:
    """A new batch; `created` is seconds ago."""
    about = About(id=id, key="k", created=time.time() - created, total=len(texts), headers={})
    lines = (json.dumps({"custom_id": f"n{n}", "params": {"say": text}}).encode() for n, text in enumerate(texts))
    return store.create(about, lines)


@asynccontextmanager
async def working(store: Store, application: Any, most: int = 4) -> Any:
    worker = asyncio.ensure_future(Worker(store, application, most, look=0.02).run())
    try:
        yield worker
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def ended(store: Store, id: str = "msgbatch_a") -> dict[str, Any]:
    """The results by custom id, once the batch is over; each id stands there once, and the counts are theirs."""
    for _ in range(500):
        batch = store.get(id)
        assert batch is not None
        if batch.ended is not None:
            lines = [json.loads(line) for line in store.results(id).read_bytes().splitlines()]
            found = {line["custom_id"]: line["result"] for line in lines}
            assert len(found) == len(lines) == batch.about.total
            told = {name: n for name, n in msgspec.to_builtins(batch.ended.counts).items() if n}
            assert told == Counter(result["type"] for result in found.values())
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("the batch does not end")


async def test_every_request_is_answered_by_the_application(tmp_path: Path) -> None:
    """Good answers and refusals become results; no more run at once than there is room for; the key is the batch's."""
    application = Application(
        lambda text: (200, {"said": text}) if text != "bad" else (400, {"type": "error"}), delay=0.01
    )
    store = Store(tmp_path / "batches")
    kept(store, ["bad", *(str(n) for n in range(20))])
    async with working(store, application, most=3):
        found = await ended(store)
    assert found["n0"] == {"type": "errored", "error": {"type": "error"}}
    assert found["n5"] == {"type": "succeeded", "message": {"said": "4"}}
    assert (application.most, application.keys) == (3, {"k"})


async def test_what_cannot_be_answered_now_is_asked_again(tmp_path: Path) -> None:
    """529 and 429 never become results; what fails on the server's side does after a few attempts."""
    seen = Counter[str]()

    def reply(text: str) -> tuple[int, dict[str, Any]]:
        seen[text] += 1
        if text == "dead":
            return 500, {"type": "error"}
        return ((529, 429)[seen[text] % 2], {}) if seen[text] < 6 else (200, {})

    store = Store(tmp_path)
    kept(store, ["busy", "dead"])
    async with working(store, Application(reply)):
        found = await ended(store)
    assert [found["n0"]["type"], found["n1"]["type"]] == ["succeeded", "errored"]
    assert seen == {"busy": 6, "dead": ATTEMPTS}


async def test_who_comes_next_goes_on_where_the_last_one_was_cut_off(tmp_path: Path) -> None:
    """A worker ends in the middle, and leaves a line half written: every request still has one result, and none that
    had one is asked again."""
    store, application = Store(tmp_path), Application(lambda text: (200, {"said": text}), delay=0.02)
    kept(store, [str(n) for n in range(30)])
    async with working(store, application, most=2):
        await eventually(
            lambda: store.results("msgbatch_a").exists() and store.results("msgbatch_a").stat().st_size > 300
        )
    had = {json.loads(line)["custom_id"] for line in store.results("msgbatch_a").read_bytes().splitlines()}
    assert 0 < len(had) < 30
    with store.results("msgbatch_a").open("ab") as file:
        file.write(b'{"custom_id": "n2')
    later = Application(lambda text: (200, {"said": text}))
    async with working(store, later):
        await ended(store)
    assert sorted(later.asked) == sorted(str(n) for n in range(30) if f"n{n}" not in had)


async def test_a_batch_belongs_to_one_worker_at_a_time(tmp_path: Path) -> None:
    """Several workers on one store ask for each request once."""
    store, application = Store(tmp_path), Application(lambda text: (200, {}), delay=0.01)
    kept(store, [str(n) for n in range(20)])
    async with working(store, application), working(Store(tmp_path), application), working(store, application):
        await ended(store)
    assert Counter(application.asked) == Counter(str(n) for n in range(20))


async def test_nobody_wants_the_rest(tmp_path: Path) -> None:
    """Cancelled: what runs is stopped, what has not begun never does, and all of it is told."""
    store, application = Store(tmp_path), Application(lambda text: (200, {}), delay=60)
    kept(store, [str(n) for n in range(10)])
    async with working(store, application, most=2):
        await eventually(lambda: application.running == 2)
        store.cancel("msgbatch_a")
        found = await ended(store)
    assert (len(application.asked), application.running) == (2, 0)
    assert {result["type"] for result in found.values()} == {"canceled"}


async def test_the_time_is_over(tmp_path: Path) -> None:
    """What is left after a day expires."""
    store = Store(tmp_path)
    kept(store, ["1", "2"], created=LIFETIME + 1)
    async with working(store, Application(lambda text: (200, {}), delay=60)):
        found = await ended(store)
    assert {result["type"] for result in found.values()} == {"expired"}


def test_a_store_knows_its_own_and_nothing_else(tmp_path: Path) -> None:
    """No id reaches out of the folder, drafts are no batches, and what is broken is not there."""
    (tmp_path / "about.json").write_text("{}")
    store = Store(tmp_path / "batches")
    assert store.all() == []
    assert store.get("msgbatch_a") is None
    batch = kept(store, ["1"])
    (tmp_path / "batches" / "new-x").mkdir()
    (tmp_path / "batches" / "msgbatch_broken").mkdir()
    assert [one.about.id for one in store.all()] == ["msgbatch_a"]
    for id in ("", ".", "..", "../batches/msgbatch_a", "msgbatch_a/../msgbatch_a", "msgbatch_", "new-x"):
        assert store.get(id) is None
    assert (tmp_path / "batches").stat().st_mode & 0o077 == 0
    Work(store, batch).close()
    store.delete("msgbatch_a")
    assert store.all() == []
