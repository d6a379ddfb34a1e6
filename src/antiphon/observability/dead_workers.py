"""What workers have counted that are dead: one file of each kind for all of them, instead of one for each.

prometheus-client has every worker count in files of its own, `counter_PID.db`. Those of a dead one are added to
`counter_0.db`, in three steps of which the second takes the dead one's file out of the sum, and the third puts the new
sum in the old one's place. So a worker that is killed at this leaves enough for the next one to finish it.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead


def bury(folder: str) -> None:
    """Make one file of what dead workers have counted, and forget what they ran. On a disk that takes nothing, or while
    somebody reads, this waits for another time; what cannot be read is left alone."""
    for pid in _dead(folder, "gauge_live*"):
        with contextlib.suppress(OSError):
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
    with contextlib.suppress(OSError, struct.error, RuntimeError, ValueError), _locked(folder, wait=False):
        for kind in ("counter", "histogram"):
            whole = Path(folder) / f"{kind}_0.db"
            draft, retired = whole.with_suffix(".new"), whole.with_suffix(".retired")
            _finish(whole, draft, retired)
            for pid in _dead(folder, f"{kind}_*"):
                file = Path(folder) / f"{kind}_{pid}.db"
                draft.write_bytes(_sum(whole, file))
                file.rename(retired)
                _finish(whole, draft, retired)


@contextlib.contextmanager
def reading(folder: str) -> Iterator[None]:
    """While files are read: none is added to another meanwhile."""
    with _locked(folder, wait=True):
        yield


@contextlib.contextmanager
def _locked(folder: str, *, wait: bool) -> Iterator[None]:
    """Readers share the folder, and wait for who changes it; who cannot have it alone raises BlockingIOError."""
    import fcntl  # not on every system, and needed for several workers only

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _finish(whole: Path, draft: Path, retired: Path) -> None:
    """The last step. A draft without a file that is retired is one that was not begun."""
    if retired.exists():
        if draft.exists():
            draft.replace(whole)
        retired.unlink()


def _sum(*sources: Path) -> bytes:
    """The content of a file in which everything is what it is in these together."""
    values: defaultdict[str, float] = defaultdict(float)
    for source in sources:
        # One that is empty is of a worker that was killed when it had just made it.
        if source.exists() and source.stat().st_size:
            for key, value, *_ in MmapedDict.read_all_values_from_file(source):  # type: ignore[no-untyped-call]
                values[key] += value
    entries = b"".join(_entry(key.encode(), value) for key, value in values.items())
    return struct.pack("i4x", 8 + len(entries)) + entries


def _entry(key: bytes, value: float) -> bytes:
    """As prometheus-client (0.26) writes them."""
    padded = key + b" " * (8 - (len(key) + 4) % 8)
    return struct.pack(f"i{len(padded)}sdd", len(key), padded, value, 0.0)


def _dead(folder: str, pattern: str) -> list[int]:
    """The workers that have such files, and are dead."""
    found = (re.search(r"_([1-9]\d*)\.db$", file) for file in glob.glob(os.path.join(folder, f"{pattern}.db")))
    return [pid for each in found if each and not _alive(pid := int(each[1]))]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
