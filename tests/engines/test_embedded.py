"""What the embedded engine is told to be, in llama.cpp's own terms."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from antiphon.engines import embedded, machine, memory, model_store
from antiphon.engines.embedded import Launch
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.fields import Settings


@pytest.mark.parametrize(
    ("launch", "reading", "writing"),
    [
        (Launch(model="m", window=512, threads=3, prefill_threads=4), 4, 3),
        (Launch(model="m", window=512, threads=3), 3, 3),
    ],
)
def test_prompts_are_read_on_more_cores_than_replies_are_written(launch: Launch, reading: int, writing: int) -> None:
    """Reading may have all cores; what is said of one holds for both unless both are told."""
    params = embedded.parameters(launch)
    assert (params.cpuparams_batch.n_threads, params.cpuparams.n_threads) == (reading, writing)


@pytest.mark.parametrize("engines", [1, 2, 100])
def test_cores_are_shared_by_engines(engines: int) -> None:
    """Engines together have no more threads than cores to read with, unless there are more engines; to write, one less
    where there is more than one core."""
    assert machine.prefill_threads(engines) * engines <= max(machine.cores(), engines)
    assert 1 <= machine.threads(engines) <= machine.prefill_threads(engines)
    assert machine.threads(engines) * engines <= max(machine.cores() - 1, engines)


@pytest.mark.xdist_group("engine")
@pytest.mark.parametrize("kind", memory.CACHE_TYPES)
def test_a_cache_of_each_type_answers(kind: memory.CacheType, tmp_path: Path) -> None:
    """The engine starts with it, and a prompt has the answer that leaves nothing to chance."""
    model = model_store.default_model(Path(Settings().cache_dir))
    launch = Launch(
        model=str(model), window=512, parallel=1, threads=1, cache_mb=0, cache_type=kind, log=str(tmp_path / "log")
    )
    process = EngineProcess(launch, print)
    try:
        url = f"http://127.0.0.1:{process.start()}/completion"
        body = json.dumps({"prompt": "The capital of France is", "n_predict": 1, "temperature": 0}).encode()
        asked = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=120) as response:
            assert json.load(response)["content"].strip() == "Paris"
    finally:
        process.stop()
