"""The room for requests of batches that are at work.

A request that is told to come back later leaves its place until then: what one key may not do now costs no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter


class Room:
    """Room for `most` requests. Every `look` seconds it is looked whether a key may go on."""

    def __init__(self, most: int, look: float) -> None:
        self._places = asyncio.Semaphore(most)
        self._look = look
        self._put_off = Counter[str]()
        """How many requests of each key were told to come back, and have not."""

    async def enter(self, owner: str) -> Place:
        """A place for a further request of a key, which comes after those that were put off: otherwise all of a batch
        would soon wait in memory."""
        while True:
            await self._places.acquire()
            if not self._put_off[owner]:
                return Place(self._places, self._put_off, owner)
            self._places.release()
            await asyncio.sleep(self._look)


class Place:
    """The place of one request, which has it until it leaves."""

    def __init__(self, places: asyncio.Semaphore, put_off: Counter[str], owner: str) -> None:
        self._places = places
        self._put_off = put_off
        self._owner = owner
        self._taken = True

    async def put_off(self, seconds: float) -> None:
        """Come back after so many seconds. Others have the place meanwhile."""
        self.leave()
        self._put_off[self._owner] += 1
        try:
            await asyncio.sleep(seconds)
            await self._places.acquire()
            self._taken = True
        finally:
            self._put_off[self._owner] -= 1

    def leave(self, _: object = None) -> None:
        """Let others have it, unless they have it already. A task that is done calls it so, too."""
        if self._taken:
            self._taken = False
            self._places.release()
