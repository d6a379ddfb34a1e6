"""Work on a thread for somebody who is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.storage import files
from antiphon.storage.contents import FolderContents
from antiphon.storage.in_thread import in_thread


class Held:
    """A function that a thread begins and does not do before it is let go. `intact` is whether the descriptor it was
    given, if it was, is the same file then."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real = real
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.intact = True
        self.result: Any = None

    def __call__(self, first: Any = None, *arguments: Any, **named: Any) -> Any:
        handle = first if isinstance(first, int) else None
        before = os.fstat(handle) if handle is not None else None
        self.begun.set()
        self.go.wait()
        try:
            if before is not None and handle is not None:
                self.intact = _is(handle, before)
            if self.intact:
                given = () if first is None else (first,)
                self.result = self._real(*given, *arguments, **named)
        finally:
            self.ended.set()
        return self.result


def _is(handle: int, file: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(handle), file)
    return False


async def _pieces() -> AsyncIterator[bytes]:
    yield b"the bytes of a client"


async def _begun(held: Held) -> None:
    while not held.begun.is_set():  # noqa: ASYNC110 (another thread tells it)
        await asyncio.sleep(0.001)


async def _cancelled(task: asyncio.Task[None], held: Held) -> None:
    """The task was cancelled twice while the thread was at work, and both have ended."""
    for _ in range(2):
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
    held.go.set()
    while not (held.ended.is_set() and task.done()):  # noqa: ASYNC110 (another thread tells it)
        await asyncio.sleep(0.001)
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("module", "name"), [(tempfile, "mkstemp"), (files, "write_all"), (os, "fsync"), (os, "replace")]
)
async def test_contents_that_are_given_up_let_go_of_all_they_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    """Wherever a writer is cancelled, and however often: what a thread works with stays open until it is done, and then
    no descriptor and no draft is left."""
    contents, held = FolderContents(tmp_path), Held(getattr(module, name))
    with monkeypatch.context() as patch:
        patch.setattr(module, name, held)
        task = asyncio.ensure_future(contents.write("files/a", _pieces()))
        await _begun(held)
        await _cancelled(task, held)
    assert held.intact
    assert not list((tmp_path / "files").glob(f"{files.DRAFT}*"))
    if name == "mkstemp":
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(held.result[0])


async def test_contents_that_are_no_longer_read_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a reader that is cancelled while a thread opens them."""
    contents, held = FolderContents(tmp_path), Held(io.open)
    await contents.write("files/a", _pieces())

    async def read() -> None:
        async for _ in contents.read("files/a"):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", held)
        task = asyncio.ensure_future(read())
        await _begun(held)
        await _cancelled(task, held)
    assert held.result.closed


async def test_whoever_is_cancelled_waits_for_what_fails_on_a_thread() -> None:
    """The cancellation is what is raised, and nobody hears of the failure."""

    def fail() -> None:
        raise KeyError

    held = Held(fail)
    task = asyncio.ensure_future(in_thread(held))
    await _begun(held)
    await _cancelled(task, held)


async def test_what_the_thread_gives_or_raises_is_passed_on() -> None:
    """With what it was given."""
    assert await in_thread(int, "11", base=2) == 3
    with pytest.raises(ValueError, match="invalid"):
        await in_thread(int, "x")
