"""Batches that an earlier server kept as folders of files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from antiphon.batches.previous import take_over
from antiphon.batches.store import BatchStore
from antiphon.batches.worker import ATTEMPTS
from antiphon.storage.store import Store
from tests.batches.working import OWNER, answering, ended, kept, results, working


def write(folder: Path, id: str, total: int, **members: Any) -> None:
    """A folder as it was: text as it is, everything else as JSON."""
    place = folder / id
    place.mkdir(parents=True)
    about = {"id": id, "key": OWNER, "created": time.time() - 60, "total": total, "headers": {}}
    lines = (json.dumps({"custom_id": f"n{n}", "params": {"say": str(n)}}) + "\n" for n in range(total))
    given = {"about.json": about, "requests.jsonl": "".join(lines), "lock": "", **members}
    for name, content in given.items():
        (place / name.replace("_", ".")).write_text(content if isinstance(content, str) else json.dumps(content))


def answer(n: int) -> str:
    return json.dumps({"custom_id": f"n{n}", "result": {"type": "succeeded", "message": {"was": n}}}) + "\n"


async def test_batches_go_on_in_the_store(store: Store, tmp_path: Path) -> None:
    """Answers stay, also beside what cannot be read; what is not answered is asked, unless servers have died of it; and
    of the folder nothing is left."""
    folder = tmp_path / "batches-1"
    begun = "+n0\n" + "+n3\n" * ATTEMPTS + "+n4\n-n4\n"
    write(folder, "msgbatch_a", 20, results_jsonl=answer(0) + "\0\0\n" + answer(0) + '{"custom_id": "n1', begun=begun)
    (folder / "new-draft").mkdir()
    for _ in range(2):
        await take_over(folder, BatchStore(store))
    assert not folder.exists()
    application = answering()
    async with working(store, application):
        found = await ended(store)
    assert found["n0"]["message"] == {"was": 0}
    assert "died" in found["n3"]["error"]["why"]
    assert sorted(application.asked) == sorted(str(n) for n in range(20) if n not in (0, 3))


async def test_what_has_ended_or_was_cancelled_stays_so(store: Store, tmp_path: Path) -> None:
    """With its results and its counts."""
    folder = tmp_path / "batches-1"
    counts = {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 0}
    write(folder, "msgbatch_a", 2, results_jsonl=answer(1) + answer(0), ended_json={"at": 5.0, "counts": counts})
    write(folder, "msgbatch_b", 2, cancelled="")
    await take_over(folder, BatchStore(store))
    batch = await BatchStore(store).get("msgbatch_a", OWNER)
    assert batch is not None
    assert (batch.ended, batch.counts.succeeded) == (5.0, 2)
    assert [line["custom_id"] for line in await results(store, batch)] == ["n1", "n0"]
    async with working(store, answering()):
        assert {result["type"] for result in (await ended(store, "msgbatch_b")).values()} == {"canceled"}


async def test_requests_that_were_lost_are_told(store: Store, tmp_path: Path) -> None:
    """A batch of which a part is gone ends all the same."""
    write(tmp_path / "batches-1", "msgbatch_a", 3)
    file = tmp_path / "batches-1" / "msgbatch_a" / "requests.jsonl"
    file.write_text(file.read_text().partition("\n")[0] + "\n")
    await take_over(tmp_path / "batches-1", BatchStore(store))
    async with working(store, answering()):
        found = await ended(store)
    assert sorted(result["type"] for result in found.values()) == ["errored", "errored", "succeeded"]


async def test_nothing_is_taken_over_twice_or_by_halves(store: Store, tmp_path: Path) -> None:
    """One that is in the store already is only put away; one that cannot be read stays; no folder is no trouble."""
    folder = tmp_path / "batches-1"
    await take_over(folder, BatchStore(store))
    await kept(store, ["mine"])
    write(folder, "msgbatch_a", 5)
    write(folder, "msgbatch_b", 5, about_json="{")
    await take_over(folder, BatchStore(store))
    assert os.listdir(folder) == ["msgbatch_b"]
    assert [batch.total for batch in await BatchStore(store).all(OWNER)] == [1]
