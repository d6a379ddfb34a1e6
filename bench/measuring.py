"""What the parts of `bench.run` measure with: loads, rounds, medians, and the rows of the table."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench.load import cpu_seconds

Told = dict[str, Any]
IDEAL = 0.02
"""Seconds between two tokens of a paced stream."""
_IDLE = 0.05
"""Of a processor."""


class Row(NamedTuple):
    """A line of the table; `good` is None where there is no target, `why` is told where one is missed."""

    what: str
    figure: str
    target: str = ""
    good: bool | None = None
    why: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is met, in a word; empty where there is none."""
        return {True: "met", False: "missed", None: ""}[self.good]

    @property
    def told(self) -> str:
        """The row as a line of text."""
        return f"{self.what}: {self.figure}  {self.target}  {self.verdict}".rstrip()


def machine() -> str:
    """The processor and its cores that may be used, for a table's head."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{processor}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def load(url: str, pids: list[int], *more: str, tokens: int = 100_000, **fields: Any) -> Told:
    """What `bench.load` tells of requests with these further fields."""
    asked = {"model": "default", "stream": True, "max_tokens": tokens, "messages": [{"role": "user", "content": "hi"}]}
    asked |= fields
    command = [sys.executable, "-m", "bench.load", url, json.dumps(asked), *more, "--watch", *map(str, pids)]
    told: Told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return told


def paced(url: str, pids: list[int], streams: int, seconds: float = 3, *, settle: bool = True) -> Told:
    """So many streams at the ideal pace, no longer than they are looked at. Some servers go on for clients that have
    left: to `settle` is to wait until there is no work left."""
    tokens = int((1.5 + 0.0031 * streams + seconds) / IDEAL)
    told = load(url, pids, "--streams", str(streams), "--seconds", str(seconds), tokens=tokens)
    if settle:
        settled(pids)
    return told


def settled(pids: list[int], patience: float = 60) -> None:
    """Wait until the processes do nothing."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        before = cpu_seconds(pids)
        time.sleep(0.4)
        if cpu_seconds(pids) - before <= 0.4 * _IDLE:
            return


def cost(told: Told) -> float:
    """Microseconds of processor time for each token."""
    return float(1e6 * told["cpu"] / max(told["tokens"], 1))


def keeps_pace(told: Told) -> bool:
    """Whether every stream was there, and p99 between tokens was below twice the ideal."""
    return bool(told["statuses"] == [200] and 0 < told["gap_p99"] < 2 * IDEAL)


def most(holds: Callable[[int], bool], begin: int) -> int:
    """The largest number that holds, to an eighth, where smaller ones hold too: found by doubling and halving. 0 where
    not even one does."""
    low, high = 0, begin
    while holds(high):
        low, high = high, 2 * high
    while high - low > max(low // 8, 1) or (not low and high > 1):
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def rounds(measures: dict[str, Callable[[], Told]], times: int = 3) -> dict[str, list[Told]]:
    """Each measure in turn, several times over, so that what disturbs one disturbs the others too."""
    found: dict[str, list[Told]] = {name: [] for name in measures}
    for _ in range(times):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def median(told: list[Told], of: Callable[[Told], float]) -> float:
    """The median of a figure."""
    return statistics.median(map(of, told))
