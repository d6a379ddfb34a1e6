"""A ceiling for the memory of the embedded engine's process: above it the process ends, before the machine suffers.

An allocation that fails ends llama.cpp anyhow, without a word; and a limit on addresses (`RLIMIT_AS`, `RLIMIT_DATA`)
counts what an accelerator or a thread's stack only reserves. So a thread looks at what is really taken. It needs no
rights and no control group, and knows the cause to tell. Where the whole machine runs short all the same, the kernel is
told to end the engine rather than a worker.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

STATUS = 75
"""The exit status of a process that reached its ceiling."""

# Pages are taken at some gigabytes a second, so a process is at most a few hundred megabytes above its ceiling.
_INTERVAL = 0.05
_STATM = Path("/proc/self/statm")
# As if it took so many thousandths of the machine more than it does.
_DISPENSABLE = "300"


def taken() -> int:
    """Bytes of memory that are this process's own: what the kernel cannot drop and read again, as the pages of a
    model's file. Raises OSError where the system does not tell."""
    resident, shared = map(int, _STATM.read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def keep(ceiling: int, cause: str) -> None:
    """From now on, end this process when it takes more than `ceiling` bytes, and write why into the file `cause`, if
    there is one, and to standard error. Systems without /proc have no such ceiling."""
    if not _STATM.exists():
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_DISPENSABLE)
    threading.Thread(target=_watch, args=(ceiling, cause), name="ceiling", daemon=True).start()


def _watch(ceiling: int, cause: str) -> None:
    while taken() <= ceiling:
        time.sleep(_INTERVAL)
    sentence = f"it reached its ceiling of memory, {ceiling >> 20} MB (--memory-limit-mb sets another)"
    print(sentence, file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        if cause:
            Path(cause).write_text(sentence, "utf-8")
    os._exit(STATUS)
