"""What this machine offers the embedded engine: cores and free memory, with a container's limits respected."""

from __future__ import annotations

import ctypes
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_BLOCK = 64 << 20
"""Bytes; more than any processor's own memory gives to one core."""


def cores() -> int:
    """Physical cores that this process may use. A second thread on the same core would only wait for the first
    one's arithmetic units; and more threads than a container's quota make every step wait for the throttled ones."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, (os.cpu_count() or 1) // 2)
    allowed = os.sched_getaffinity(0)
    siblings = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text())
        except OSError:
            siblings.add(str(cpu))
    return max(1, min(len(siblings), _quota() or len(siblings)))


_MANY = 4
"""Cores of which one is not missed."""


def threads(engines: int = 1) -> int:
    """How many threads each of so many engines should have for replies; engines that compute at the same time must not
    share cores. Of four cores or more, one is left to whoever asks: replies are hardly slower, and as fast beside a
    busy process. Of fewer that would be too much to give away (`embedded.py` has the figures)."""
    count = cores()
    return max(1, (count - 1 if count >= _MANY else count) // engines)


def prefill_threads(engines: int = 1) -> int:
    """The same for a whole batch of a prompt's tokens, which meets few barriers for its work: no core is left over."""
    return max(1, cores() // engines)


def _quota() -> int | None:
    """Whole cores of time that a control group may take; None without a limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(limit) // int(period))
    except (OSError, ValueError):
        return None


def bandwidth(samples: int = 5, seconds: float = 0.1) -> float:
    """Bytes a second that the memory gives to all cores that the engine would use: of a copy of blocks that no cache
    holds, what is read and what is written. It is the best of so many measurements, each for so long, because whatever
    else the machine does can only take away from it."""
    count = prefill_threads()
    blocks = [(ctypes.create_string_buffer(_BLOCK), ctypes.create_string_buffer(_BLOCK)) for _ in range(count)]
    for source, target in blocks:  # the system gives memory at its first use, and slowly
        ctypes.memmove(target, source, _BLOCK)

    def copy(block: tuple[Any, Any], begun: float) -> int:
        copied = 0
        # Without the interpreter's lock, so that the threads copy at the same time.
        while time.perf_counter() - begun < seconds or not copied:
            ctypes.memmove(block[1], block[0], _BLOCK)
            copied += 2 * _BLOCK
        return copied

    def measured(threads: ThreadPoolExecutor) -> float:
        begun = time.perf_counter()
        copied = sum(threads.map(copy, blocks, [begun] * count))
        return copied / (time.perf_counter() - begun)

    with ThreadPoolExecutor(count) as threads:
        return max(measured(threads) for _ in range(samples))


def free_bytes() -> int:
    """Memory that this process may still take, in bytes: what the system has left, or its control group."""
    left = [value for value in (_system_free(), _group_free()) if value is not None]
    return min(left) if left else 4 << 30


def _system_free() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        # Where nobody tells what is available, half of what is built in.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError):
        return None


def _group_free() -> int | None:
    """Room left in the control group of a container; None without a limit."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):
            continue
    return None
