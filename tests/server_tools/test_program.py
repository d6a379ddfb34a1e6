"""Programs that do one thing for a worker."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from antiphon.server_tools.program import TooLong, running
from tests.faults.processes import ended, eventually


async def test_a_program_reads_its_input_and_its_status_is_told() -> None:
    """What it is given is all there, larger than a pipe holds; output, errors and status are its own."""
    code = "import sys; sys.stdout.write(str(len(sys.stdin.read()))); sys.stderr.write('so'); sys.exit(3)"
    async with running(sys.executable, "-c", code, input=b"x" * 300_000, errors=True) as program:
        assert await program.output(100) == b"300000"
        assert await program.errors(100) == b"so"
        assert await program.status() == 3


async def test_a_program_stands_back() -> None:
    """It is nicer than whoever started it."""
    async with running("sh", "-c", "sleep 0.1; nice") as program:
        assert int(await program.output(100)) > os.nice(0) or os.nice(0) >= 15


async def test_a_program_is_over_when_its_block_is() -> None:
    """However the block ends: by too much output, or because it is cancelled."""
    with pytest.raises(TooLong):
        async with running("sh", "-c", "echo $$; while :; do echo more; done") as program:
            await program.output(10_000)
    pids: list[int] = []

    async def wait() -> None:
        async with running("sh", "-c", "echo $$; exec >&-; sleep 60") as program:
            pids.append(int(await program.output(100)))
            await program.status()

    task = asyncio.ensure_future(wait())
    while not pids:  # noqa: ASYNC110 (no event tells it)
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.parametrize("then", ["wait", "exit"])
async def test_what_a_program_started_is_over_with_it(then: str) -> None:
    """Whether the program itself still runs at the end of its block or has ended before."""
    async with running("sh", "-c", f"sleep 600 >&- & echo $!; exec >&-; {then}") as program:
        child = int(await program.output(100))
        if then == "exit":
            await program.status()
        assert not ended(child)
    await eventually(lambda: ended(child))
