"""What is carried out to its end although whoever waits for it may leave: an engine that was asked to write a file
writes it all the same, and somebody must know of that file."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Errands:
    """What is being carried out."""

    def __init__(self) -> None:
        self._going: set[asyncio.Task[bool]] = set()

    def start(self, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        """It goes on by itself."""
        task = asyncio.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        return task

    async def run(self, work: Coroutine[Any, Any, bool]) -> bool:
        """What comes of it. Whoever is cancelled here leaves at once, and it goes on."""
        return await asyncio.shield(self.start(work))

    async def done(self) -> None:
        """Wait until nothing is going on."""
        while self._going:
            await asyncio.wait(self._going)

    async def stop(self) -> None:
        """What is still going on is cancelled."""
        for task in self._going:
            task.cancel()
        await asyncio.gather(*self._going, return_exceptions=True)
