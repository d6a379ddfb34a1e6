"""A disk that fails: every call of the system that changes a folder is counted, and any of them can go wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ERRORS = [errno.ENOSPC, errno.EROFS, errno.EIO]
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
# Not what takes things away: it is how what could not be written is cleared up.
_BY_PATH = ("link", "mkdir", "mkfifo", "rename", "replace", "utime")
_BY_HANDLE = ("fsync", "ftruncate", "posix_fallocate", "pwrite", "write")


class Disk:
    """Everything that is changed in a folder by `os` goes through here. `struck` is asked before each change, with how
    many there were before it, whether `blow` happens in its place. Of a write, a half is written before."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch
        self.folder = os.path.realpath(folder)
        self.changes = 0
        self.struck: Callable[[int], bool] = lambda n: False
        self.blow: Callable[[], None] = lambda: None
        self._open, self._write = os.open, os.write
        patch.setattr(os, "open", self._opening)
        patch.setattr(os, "write", self._writing)
        for name in _BY_PATH:
            patch.setattr(os, name, self._watched(getattr(os, name), lambda path: os.path.abspath(path)))
        for name in _BY_HANDLE:
            if name != "write":
                patch.setattr(os, name, self._watched(getattr(os, name), self._place))

    def fail(self, *numbers: int, error: int) -> None:
        """The changes with these numbers fail."""
        self.break_when(lambda n: n in numbers, error)

    def break_when(self, broken: Callable[[int], bool], error: int) -> None:
        """Changes fail for as long as this is so."""

        def blow() -> None:
            raise OSError(error, os.strerror(error))

        self.changes, self.struck, self.blow = 0, broken, blow

    def heal(self) -> None:
        """Everything works again."""
        self.struck = lambda n: False

    def _place(self, handle: int) -> str:
        return os.readlink(f"/proc/self/fd/{handle}")

    def _mine(self, place: str) -> bool:
        return place.startswith(self.folder)

    def change(self) -> None:
        """Something is changed in another way."""
        if self._hit():
            self.blow()

    def _hit(self) -> bool:
        self.changes += 1
        return self.struck(self.changes - 1)

    def _watched(self, real: Any, place: Callable[[Any], str]) -> Any:
        def called(target: Any, *arguments: Any, **named: Any) -> Any:
            if self._mine(place(target)) and self._hit():
                self.blow()
            return real(target, *arguments, **named)

        return called

    def _opening(self, path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & _WRITING and not isinstance(path, int) and self._mine(os.path.abspath(path)) and self._hit():
            self.blow()
        return self._open(path, flags, *arguments, **named)

    def _writing(self, handle: int, data: Any) -> int:
        if self._mine(self._place(handle)) and self._hit():
            self._write(handle, bytes(data)[: len(data) // 2])
            self.blow()
        return self._write(handle, data)
