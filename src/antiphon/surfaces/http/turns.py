"""Requests that come at once are begun a few at a time, so that the streams of a worker go on in between.

To read a request and to make its prompt takes a millisecond of the event loop. A program that sends two hundred at once
would otherwise stop every other stream for a fifth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque

MOST = 4
"""Requests that are begun in one turn of the event loop. Then it looks at its sockets."""


class Turns:
    """Lets `MOST` pass in each turn of the event loop; others wait for the next turns, in the order in which they
    came."""

    def __init__(self) -> None:
        self._line: deque[asyncio.Future[None]] = deque()
        self._taken = 0

    async def take(self) -> None:
        """Return at once, or as soon as it is one's turn."""
        if self._taken < MOST:
            if not self._taken:
                asyncio.get_running_loop().call_soon(self._next)
            self._taken += 1
            return
        mine = asyncio.get_running_loop().create_future()
        self._line.append(mine)
        await mine

    def _next(self) -> None:
        """The loop's next turn: let the next ones pass."""
        self._taken = 0
        while self._line and self._taken < MOST:
            following = self._line.popleft()
            if not following.done():
                following.set_result(None)
                self._taken += 1
        if self._taken:
            asyncio.get_running_loop().call_soon(self._next)
