"""What the embedded engine is told to be, in llama.cpp's own terms."""

from __future__ import annotations

import pytest

from antiphon.engines import embedded, machine
from antiphon.engines.embedded import Launch


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
