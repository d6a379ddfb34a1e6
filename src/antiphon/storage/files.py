"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from pathlib import Path

DRAFT = "new-"
"""How the names of files and folders begin that are still being written."""

REMEDIES = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EPERM: "make it writable",
}
"""What to do about a disk that takes nothing more, by the number of the error."""


def write(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put this content in the place of a file's, for its owner's eyes only. A reader finds the old one or the new one;
    what is `durable` survives a loss of power. Raises OSError, and then nothing has changed."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=DRAFT)
    try:
        try:
            write_all(handle, content)
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def write_all(handle: int, content: bytes) -> None:
    """Write all of it: where a disk is nearly full, the system writes a part and says so. Raises OSError."""
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def reserve(handle: int, size: int) -> None:
    """Give a file at least this size, with room on the disk for all of it. Raises OSError.

    A file that is mapped into memory must not be sparse: to find no room then is no error but the end of the process
    (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:
        os.ftruncate(handle, size)


def settle(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def reason(error: OSError) -> str:
    """What the system says is wrong, in the middle of a sentence."""
    said = os.strerror(error.errno) if error.errno else str(error)
    return said[:1].lower() + said[1:]


def refusal(what: str, error: OSError, folder: Path | str, option: str, size: int = 0) -> str:
    """The sentence for whoever wanted something kept: what cannot be, why, where, and what to do. `option` chooses
    another folder; `size` is what is needed there, in bytes (0: hardly anything)."""
    needed = f", which needs {_megabytes(size)} there" if size else ""
    remedy = REMEDIES.get(error.errno or 0, "see whether the disk is well")
    return f"{what} cannot be kept in {folder}{needed}: {reason(error)}; {remedy}, or choose another with {option}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{max(size / 1e3, 1):.0f} kB"
