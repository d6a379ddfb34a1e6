"""The gate before a model whose weights change, as workers see it: several gates on one file."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from antiphon.api.errors import EngineFailed, Overloaded
from antiphon.process.reload_gate import ReloadGate


async def _turns() -> None:
    """Let everybody go on that can."""
    await asyncio.sleep(0.2)


async def test_a_reload_waits_for_what_runs_and_lets_nothing_begin(tmp_path: Path) -> None:
    """Whichever worker generates, and however often."""
    one, other = ReloadGate(tmp_path / "m"), ReloadGate(tmp_path / "m")
    told: list[str] = []
    over = asyncio.Event()

    async def generate(gate: ReloadGate, name: str) -> None:
        async with gate.using():
            told.append(name)
            await over.wait()

    async def reload() -> None:
        async with one.reloading(drain=True):
            told.append("reloaded")

    running = [asyncio.create_task(generate(gate, "before")) for gate in (one, one, other)]
    await _turns()
    reloading = asyncio.create_task(reload())
    await _turns()
    later = [asyncio.create_task(generate(gate, "after")) for gate in (one, other)]
    await _turns()
    assert told == ["before"] * 3
    over.set()
    await asyncio.gather(*running, reloading, *later)
    assert told == [*["before"] * 3, "reloaded", "after", "after"]


async def test_one_reload_at_a_time(tmp_path: Path) -> None:
    """A second one is refused, wherever it comes from, until the first is over; one that does not drain waits for
    nobody."""
    one, other = ReloadGate(tmp_path / "m"), ReloadGate(tmp_path / "m")
    async with other.using(), one.reloading(drain=False):
        for gate in (one, other):
            with pytest.raises(Overloaded, match="being reloaded"):
                async with gate.reloading(drain=False):
                    pass
    async with other.reloading(drain=True):
        pass


async def test_what_a_reload_cuts_off_is_told_so(tmp_path: Path) -> None:
    """An engine that fails under a request while its weights change did not fail: the request may be sent again."""
    one, other = ReloadGate(tmp_path / "m"), ReloadGate(tmp_path / "m")

    async def fail(gate: ReloadGate, reload: AsyncExitStack | None = None) -> None:
        async with gate.using():
            if reload:
                await reload.enter_async_context(one.reloading(drain=False))
            raise EngineFailed("it broke off")

    for gate in (one, other):
        with pytest.raises(EngineFailed):
            await fail(gate)
        async with AsyncExitStack() as reload:
            with pytest.raises(Overloaded, match="cut off"):
                await fail(gate, reload)


async def test_who_leaves_keeps_nobody_out(tmp_path: Path) -> None:
    """A request that is cancelled while it waits, or while it runs, is out of the way."""
    gate = ReloadGate(tmp_path / "m")

    async def generate() -> None:
        async with gate.using():
            await asyncio.Event().wait()

    async with gate.reloading(drain=True):
        waiting = asyncio.create_task(generate())
        await _turns()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    running = asyncio.create_task(generate())
    await _turns()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with gate.reloading(drain=True):
        pass
