"""Message batches on the store that all surfaces reach."""

from __future__ import annotations

import json
import os
import signal

import anthropic
from anthropic.types.messages import MessageBatch
from sqlalchemy import func, select

from antiphon.batches.tables import ANSWERS, TABLES
from antiphon.storage.records import Records
from tests.faults.processes import eventually
from tests.ray.cluster import Cluster, serving

REQUESTS = 80
SCRIPT = {"slots": 4, "rules": [{"text": "word " * 10, "delay": 0.02}]}
SETTINGS = """
model = "scripted+script.json"
workers = 2
store = "{place}"
contents = "{folder}/contents"
[ray.surface]
ray_actor_options = {{num_cpus = 0.5}}
"""


async def test_a_batch_outlives_a_surface(cluster: Cluster) -> None:
    """Both surfaces work on it; one is killed in the middle; every request has exactly one result, by its own key."""
    (cluster.folder / "script.json").write_text(json.dumps(SCRIPT))
    place = f"sqlite:///{cluster.folder}/batches.sqlite"
    answers = select(func.count()).select_from(ANSWERS)
    records = Records(place)
    params = {"model": "claude-x", "max_tokens": 20, "messages": [{"role": "user", "content": "Say it."}]}
    requests = [{"custom_id": f"n{number}", "params": params} for number in range(REQUESTS)]
    with serving(cluster, SETTINGS.format(place=place, folder=cluster.folder)) as url:
        async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=5) as client:
            batch = await client.messages.batches.create(requests=requests)  # type: ignore[arg-type]
            await eventually(lambda: records.run(TABLES, lambda one: one.scalar(answers), writes=False))
            os.kill(cluster.replicas("Surface")[0], signal.SIGKILL)
            batch = await eventually(lambda: _ended(client, batch.id), 120)
            found = [one async for one in await client.messages.batches.results(batch.id)]
    records.close()
    assert batch.request_counts.succeeded == REQUESTS
    assert sorted(one.custom_id for one in found) == sorted(f"n{number}" for number in range(REQUESTS))


async def _ended(client: anthropic.AsyncAnthropic, id: str) -> MessageBatch | None:
    """The batch, if it is over."""
    batch = await client.messages.batches.retrieve(id)
    return batch if batch.processing_status == "ended" else None
