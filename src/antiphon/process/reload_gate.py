"""What keeps requests to a model away while its weights change, across all workers: two locks on files that they share.

Whoever generates holds `use`, together with others. Whoever reloads takes `turn`, so that nobody begins anything more,
and then waits for `use` to be free.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from antiphon.api.errors import EngineFailed, Overloaded
from antiphon.storage.locks import try_lock, unlock, until


class ReloadGate:
    """The gate before one model, with its locks at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn, self._use = _opened(path, "turn"), _opened(path, "use")
        self._users = 0

    @asynccontextmanager
    async def using(self) -> AsyncIterator[None]:
        """Generate. Waits while the weights change. An engine that fails meanwhile was made to: Overloaded."""
        await until(self._entered)
        try:
            yield
        except EngineFailed as failure:
            if self._open():
                raise
            raise Overloaded(
                "the model's weights are being reloaded, and the request was cut off; send it again", retry_after=1
            ) from failure
        finally:
            self._leave()

    def _entered(self) -> bool:
        if not self._users and not try_lock(self._use, shared=True):
            return False
        self._users += 1
        if self._open():
            return True
        self._leave()
        return False

    def _open(self) -> bool:
        """Whether nobody reloads."""
        if not try_lock(self._turn, shared=True):
            return False
        unlock(self._turn)
        return True

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            unlock(self._use)

    @asynccontextmanager
    async def reloading(self, *, drain: bool) -> AsyncIterator[None]:
        """Change the weights: nobody begins anything meanwhile, and to `drain` is to wait until nobody generates.
        Raises Overloaded where another reload is under way."""
        # Of the same file opened twice, each has locks of its own.
        turn, use = _opened(self._path, "turn"), _opened(self._path, "use")
        try:
            if not try_lock(turn):
                raise Overloaded("the model is being reloaded already; try again when that is done", retry_after=5)
            if drain:
                await until(lambda: try_lock(use))
            yield
        finally:
            os.close(use)
            os.close(turn)

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._turn)
        os.close(self._use)


def _opened(path: Path, lock: str) -> int:
    return os.open(path.with_name(f"{path.name}.{lock}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
