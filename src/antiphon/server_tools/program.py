"""Programs that do one thing for a worker and end.

uvloop starts a program by copying the worker's page tables, and no stream goes on meanwhile: 25 ms for a worker of
400 MB, and more on a busy machine. `subprocess` lends the worker's memory to the program until it runs, which takes a
fifth of a millisecond.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import IO

from antiphon.api.offload import LARGE, offload

_NICE = 5
"""How far a program stands back behind the worker, its engine and everybody's streams. Where all processors are busy it
still gets a quarter of one; with 19, a line of Python would not end within the time of its call."""
_LOOK = 0.005
"""Seconds between two looks whether a program that says nothing more has ended."""


class TooLong(Exception):
    """A program prints more than it may."""


class Program:
    """A program that runs, and what it prints; `errors` only where they are wanted."""

    def __init__(self, process: subprocess.Popen[bytes], output: asyncio.StreamReader, errors: asyncio.StreamReader):
        self._process = process
        self._output = output
        self._errors = errors

    async def output(self, most: int) -> bytes:
        """All that it prints. Raises TooLong for more than `most` bytes."""
        return await _all(self._output, most)

    async def errors(self, most: int) -> bytes:
        """All of its error output. Raises TooLong for more than `most` bytes."""
        return await _all(self._errors, most)

    async def status(self) -> int:
        """Its exit status, once it has ended."""
        return await _status(self._process)


@contextlib.asynccontextmanager
async def running(
    *command: str,
    input: bytes = b"",
    errors: bool = False,
    descriptors: Sequence[int] = (),
    folder: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """A program that reads the `input` and has these open `descriptors`. What still runs of it at the end of the block,
    or of what it started, is killed. Raises OSError when it cannot be started."""
    with tempfile.TemporaryFile() as stdin:
        await offload(len(input) > LARGE, partial(stdin.write, input))
        stdin.seek(0)
        process = subprocess.Popen(  # noqa: ASYNC220 (asyncio's own way blocks for longer)
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if errors else subprocess.DEVNULL,
            pass_fds=descriptors,
            cwd=folder,
            env=environment,
            # A group, so that what it starts can be killed with it. In a session of its own it would not stand back:
            # Linux may weigh sessions against each other, and niceness within each.
            process_group=0,
        )
    with contextlib.suppress(ProcessLookupError):
        # The system takes more than 19 for 19.
        os.setpriority(os.PRIO_PROCESS, process.pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
    try:
        async with _reading(process.stdout) as printed, _reading(process.stderr) as complaints:
            yield Program(process, printed, complaints)
    finally:
        # The group, which may outlive the process.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(_status(process))


async def _status(process: subprocess.Popen[bytes]) -> int:
    while (status := process.poll()) is None:  # noqa: ASYNC110 (no event tells it on every system)
        await asyncio.sleep(_LOOK)
    return status


@contextlib.asynccontextmanager
async def _reading(pipe: IO[bytes] | None) -> AsyncIterator[asyncio.StreamReader]:
    """What comes out of a pipe; nothing, where there is none."""
    reader = asyncio.StreamReader()
    if pipe is None:
        reader.feed_eof()
        yield reader
        return
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        yield reader
    finally:
        transport.close()


async def _all(stream: asyncio.StreamReader, most: int) -> bytes:
    read = bytearray()
    while chunk := await stream.read(65536):
        read += chunk
        if len(read) > most:
            raise TooLong(f"more than {most} bytes")
    return bytes(read)
