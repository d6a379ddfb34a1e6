"""Several servers on one store, and one of them dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import func, select

from antiphon.batches.tables import ANSWERS, TABLES
from antiphon.storage.records import Records
from tests.end_to_end.conftest import serving
from tests.faults.processes import eventually, workers
from tests.storage.places import Place
from tests.surfaces.messages.test_batches import SCRIPT, asked, connected, over


async def test_a_batch_outlives_a_server(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle, with no time to put anything in order: the other server takes over what it had begun, and
    every request has exactly one result."""
    monkeypatch.setenv("ANTIPHON_STORE", place.records)
    monkeypatch.setenv("ANTIPHON_CONTENTS", place.contents)
    requests = [asked(f"n{n}", "Slowly" if n % 10 == 9 else "Say hello.", max_tokens=5) for n in range(60)]
    records = Records(place.records)
    answers = select(func.count()).select_from(ANSWERS)
    with serving(tmp_path, SCRIPT) as first, serving(tmp_path, SCRIPT, "--workers", "2") as second:
        with connected(first, "any") as client:
            made = client.messages.batches.create(requests=requests)
        await eventually(lambda: records.run(TABLES, lambda one: one.scalar(answers), writes=False))
        for pid in (first.process.pid, *workers(first.process.pid)):
            os.kill(pid, signal.SIGKILL)
        first.process.wait()
        with connected(second, "any") as client:
            batch = over(client, made.id)
            assert batch.request_counts.succeeded == 60
            found = sorted(one.custom_id for one in client.messages.batches.results(made.id))
    records.close()
    assert found == sorted(one["custom_id"] for one in requests)
