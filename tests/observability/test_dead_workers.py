"""The metrics of workers that have died, in the files that prometheus-client writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from antiphon.observability import dead_workers

WORKER = """
from antiphon.observability import metrics
metrics.written("m", "k", {tokens})
metrics._metrics.gaps.labels("m", "k").observe(0.003)
metrics._metrics.gaps.labels("m{tokens}", "k").observe(7.0)
metrics.running("m", 1)
"""


def worked(folder: Path, *tokens: int) -> None:
    """Workers that have counted so many tokens, and are dead."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with dead_workers.reading(str(folder)):  # so that none of them puts in order what the others left
        for each in tokens:
            subprocess.run([sys.executable, "-c", WORKER.format(tokens=each)], env=environment, check=True)


def _finished() -> int:
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def told(folder: Path) -> list[str]:
    """What the files tell, but of what is running."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    lines = generate_latest(registry).decode().splitlines()
    return sorted(line for line in lines if "running" not in line)


def test_counts_of_dead_workers_stay_in_one_file(tmp_path: Path) -> None:
    """However many have died, now and later: what is told of counters and histograms is the same, and gauges are no
    more."""
    for tokens in ((1, 20), (300,)):
        worked(tmp_path, *tokens)
        before = told(tmp_path)
        dead_workers.bury(str(tmp_path))
        assert told(tmp_path) == before
        assert sorted(os.listdir(tmp_path)) == ["counter_0.db", "histogram_0.db"]
    assert 'antiphon_output_tokens_total{key="k",model="m"} 321.0' in before


@pytest.mark.parametrize("step", ["write_bytes", "rename", "replace", "unlink"])
def test_a_worker_that_is_killed_at_it_loses_no_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever step was the last that it did not take, the next one finishes it."""

    def killed(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    worked(tmp_path, 1, 20)
    before = told(tmp_path)
    # One that was killed before it counted anything.
    (tmp_path / f"counter_{_finished()}.db").touch()
    with monkeypatch.context() as patch:
        patch.setattr(Path, step, killed)
        with pytest.raises(KeyboardInterrupt):
            dead_workers.bury(str(tmp_path))
    dead_workers.bury(str(tmp_path))
    assert told(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["counter_0.db", "histogram_0.db"]


def test_what_somebody_reads_stays_as_it_is(tmp_path: Path) -> None:
    """Nobody waits for a reader, who may be slow."""
    worked(tmp_path, 1)
    before = set(os.listdir(tmp_path))
    with dead_workers.reading(str(tmp_path)):
        dead_workers.bury(str(tmp_path))
        assert {name for name in before if "gauge" not in name} == set(os.listdir(tmp_path))
    dead_workers.bury(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["counter_0.db", "histogram_0.db"]
