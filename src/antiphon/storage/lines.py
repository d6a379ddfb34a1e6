"""A file of lines that grows at its end, and has whole lines only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from antiphon.storage.files import write_all

_BLOCK = 1 << 16


def one_line(json: bytes) -> bytes:
    """The same JSON without white space between its tokens, so that it fits a line. Every token stays as it was
    spelt: keys in their order, numbers, escapes. Raises ValueError (and RecursionError) where it is none."""
    return msgspec.json.format(json, indent=-1)


def whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file without their ends. What stands after the last end was never written whole, and is left
    out. Raises OSError."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]


class Lines:
    """A file that lines are added to, made when it is not there, for its owner's eyes only. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._end = _end_of_lines(self._handle)
        self._torn = self._end < os.fstat(self._handle).st_size

    def add(self, line: bytes) -> None:
        """Add a line, given without its end. Raises OSError; a part of it that was written is gone before anything else
        is."""
        if self._torn:
            os.ftruncate(self._handle, self._end)
        self._torn = True
        write_all(self._handle, line + b"\n")
        self._end += len(line) + 1
        self._torn = False

    def settle(self) -> None:
        """Make what was added survive a loss of power."""
        os.fsync(self._handle)

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _end_of_lines(handle: int) -> int:
    end = os.fstat(handle).st_size
    while end:
        start = max(0, end - _BLOCK)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
