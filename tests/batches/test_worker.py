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

from antiphon.api.errors import Internal
from antiphon.batches.progress import Progress
from antiphon.batches.store import LIFETIME, About, Batch, Store
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
        headers = [(b"retry-after", b"0"), *[(b"x-should-retry", b"false")] * bool(body.get("final"))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def kept(store: Store, texts: list[str], *, created: float = 0.0, id: str = "msgbatch_a") -> Batch:
    """A new batch; `created` is seconds ago."""
    about = About(id=id, key="k", created=time.time() - created, total=len(texts), headers={})
    lines = (json.dumps({"custom_id": f"n{n}", "params": {"say": text}}).encode() for n, text in enumerate(texts))
    return store.create(about, lines)


def told(failure: Internal) -> bytes:
    """A failure in the words of no API."""
    return json.dumps({"type": "error", "why": failure.message}).encode()


@asynccontextmanager
async def working(store: Store, application: Any, most: int = 4) -> Any:
    worker = asyncio.ensure_future(Worker(store, application, most, told, look=0.02).run())
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
    """529 and 429 never become results; what fails on the server's side does after a few attempts, or at once where the
    server says that it must not be sent again."""
    seen = Counter[str]()

    def reply(text: str) -> tuple[int, dict[str, Any]]:
        seen[text] += 1
        if text in ("dead", "lost"):
            return 500, {"type": "error", "final": text == "lost"}
        return ((529, 429)[seen[text] % 2], {}) if seen[text] < 6 else (200, {})

    store = Store(tmp_path)
    kept(store, ["busy", "dead", "lost"])
    async with working(store, Application(reply)):
        found = await ended(store)
    assert [found[f"n{n}"]["type"] for n in range(3)] == ["succeeded", "errored", "errored"]
    assert seen == {"busy": 6, "dead": ATTEMPTS, "lost": 1}


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


async def test_lines_that_cannot_be_read_cost_their_own_requests(tmp_path: Path) -> None:
    """Broken, without an id or lost altogether: each is told as an error that says so, the others are answered."""
    store = Store(tmp_path)
    batch = kept(store, [str(n) for n in range(6)])
    file = store.folder(batch.about.id) / "requests.jsonl"
    lines = file.read_bytes().splitlines()
    lines[1] = b'{"custom_id":"n1","params":{"say"'
    lines[2] = b"\0" * 100
    file.write_bytes(b"\n".join(lines[:5]) + b"\n" + lines[5][:20])
    application = Application(lambda text: (200, {"said": text}))
    async with working(store, application):
        found = await ended(store)
    assert sorted(application.asked) == ["0", "3", "4"]
    for id, words in (("n1", "cannot be read"), ("requests.2", "cannot be read"), ("requests.0", "has lost it")):
        assert (found[id]["type"], words in found[id]["error"]["why"]) == ("errored", True)


async def test_results_that_cannot_be_read_are_made_again(tmp_path: Path) -> None:
    """Rubbish among the results and a second result of the same request are gone in the end."""
    store = Store(tmp_path)
    batch = kept(store, ["0", "1", "2"])
    lines = [json.dumps({"custom_id": f"n{n}", "result": {"type": "succeeded", "message": {"was": n}}}) for n in (0, 0)]
    store.results(batch.about.id).write_text(f"{lines[0]}\n\0\0\n{lines[1]}\n" + '{"custom_id": "n2"}\n')
    application = Application(lambda text: (200, {"said": text}))
    async with working(store, application):
        found = await ended(store)
    assert sorted(application.asked) == ["1", "2"]
    assert found["n0"]["message"] == {"was": 0}


async def test_an_end_that_cannot_be_read_is_told_again(tmp_path: Path) -> None:
    """A batch whose end is rubbish has not ended, and ends again with the results that it has."""
    store = Store(tmp_path)
    batch = kept(store, ["0"])
    application = Application(lambda text: (200, {"said": text}))
    async with working(store, application):
        await ended(store)
    (store.folder(batch.about.id) / "ended.json").write_bytes(b"")
    assert [one.status for one in Store(tmp_path).all()] == ["in_progress"]
    async with working(Store(tmp_path), application):
        await ended(store)
    assert application.asked == ["0"]


async def test_an_application_that_breaks_costs_one_request(tmp_path: Path) -> None:
    """An exception, an answer that is no JSON and one that spans lines: one result each, on a line of its own."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        say = json.loads((await receive())["body"])["say"]
        if say == "raise":
            raise KeyError(say)
        body = b"<html>" if say == "html" else b'{\r\n  "said": "x"\n}'
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    store = Store(tmp_path)
    kept(store, ["raise", "html", "fine"])
    async with working(store, application):
        found = await ended(store)
    assert [found[f"n{n}"]["type"] for n in range(3)] == ["errored", "errored", "succeeded"]
    assert "not JSON" in found["n1"]["error"]["why"]
    assert found["n2"]["message"] == {"said": "x"}


async def test_a_request_that_the_server_dies_of_is_given_up(tmp_path: Path) -> None:
    """What was running when the server died goes on alone, after all others, and is not begun again after a few
    deaths; what was let go of in good order is not counted."""
    store = Store(tmp_path)
    batch = kept(store, ["deadly", "beside it", "fine", "let go"])
    progress = Progress(store, batch)
    for _ in range(ATTEMPTS):
        progress.begin("n0")
        progress.begin("n3")
        progress.let_go("n3")
    progress.begin("n1")
    progress.close()
    application = Application(lambda text: (200, {"said": text}), delay=0.02)
    async with working(store, application):
        found = await ended(store)
    assert application.asked == ["fine", "let go", "beside it"]
    assert f"died {ATTEMPTS} times" in found["n0"]["error"]["why"]


async def test_a_worker_that_is_asked_to_stop_blames_nobody(tmp_path: Path) -> None:
    """However often it is stopped in the middle of a request, that is begun again."""
    store, slow = Store(tmp_path), Application(lambda text: (200, {}), delay=60)
    batch = kept(store, ["slow"])
    for n in range(ATTEMPTS + 1):
        async with working(store, slow):
            await eventually(lambda n=n: len(slow.asked) == n + 1)
    progress = Progress(store, batch)
    assert progress.deaths("n0") == 0
    progress.close()


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
    Progress(store, batch).close()
    store.delete("msgbatch_a")
    assert store.all() == []
    assert not (tmp_path / "batches" / "msgbatch_a").exists()
