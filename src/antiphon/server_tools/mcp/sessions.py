"""The processes of the operator's MCP servers, kept while they are used.

Each API key has a process of its own of a server, so that what a server remembers (a page that is open, a transaction)
is there in the key's next call and in nobody else's. A process that died is started again by the next call; a call that
it died under has failed, since nobody knows how much of it was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from antiphon.server_tools.mcp.process import ServerProcess
from antiphon.server_tools.tool import ToolFailed

if TYPE_CHECKING:
    from mcp.client.client import Client

log = logging.getLogger("antiphon")

MOST = 32
"""Processes in a worker."""
IDLE = 600.0
"""Seconds after which a process that nobody uses is ended."""
_STARTS = 60.0
"""Seconds that a process may take until it can be talked to: some fetch themselves first."""
_PROOF = 3.0
"""Seconds in which a server must list its tools after a call that was given up, or it is started again."""


class Owner(NamedTuple):
    """Whose process it is: the name of the server, its command, the label of the key."""

    name: str
    command: tuple[str, ...]
    key: str


class _Session:
    """One process and the connection to it. Both live in a task, because only the task that opens such a connection can
    close it."""

    def __init__(self, owner: Owner, max_bytes: int) -> None:
        self.process = ServerProcess(owner.name, owner.command, max_bytes)
        self.users = 0
        self.doubtful = False
        """Whether a call was given up, so that the server may hang."""
        self.ending: asyncio.TimerHandle | None = None
        self._leaving = asyncio.Event()
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._live())
        self.task.add_done_callback(self._settle)

    async def client(self) -> Client:
        """The connection, as soon as there is one."""
        return await asyncio.shield(self._client)

    def doubt(self) -> None:
        """Note that a call was given up. A process that is only starting has its own time for that."""
        self.doubtful = self._client.done()

    @property
    def over(self) -> bool:
        """Whether no call can be made any more."""
        return self._leaving.is_set() or self.process.ended.is_set() or self.process.dead or self.task.done()

    def end(self) -> None:
        """Let it end, at once if it is only starting."""
        self._leaving.set()
        if not self._client.done():
            self.task.cancel()

    async def _live(self) -> None:
        from mcp.client.client import Client

        async with asyncio.timeout(_STARTS) as limit:
            async with Client(self.process.streams(), mode="auto", cache=None) as client:
                limit.reschedule(None)
                self._client.set_result(client)
                await self._end()

    def _settle(self, task: asyncio.Task[None]) -> None:
        """Tell whoever still waits for the connection that there will be none."""
        trouble = None if task.cancelled() else task.exception()
        if not self._client.done():
            self._client.set_exception(trouble or ToolFailed("unavailable", "its process was ended"))
            # There may be nobody.
            self._client.exception()
        elif trouble is not None:
            log.error("the connection to an MCP server failed", exc_info=trouble)

    async def _end(self) -> None:
        """Wait until it ends, or is to."""
        ends = [asyncio.ensure_future(event.wait()) for event in (self._leaving, self.process.ended)]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()


class Sessions:
    """At most `most` processes; each ends when it was not used for `idle` seconds. No line of theirs may be longer than
    `max_bytes`."""

    def __init__(self, max_bytes: int, *, most: int = MOST, idle: float = IDLE) -> None:
        self._max_bytes = max_bytes
        self._most = most
        self._idle = idle
        self._sessions: OrderedDict[Owner, _Session] = OrderedDict()
        self._leaving: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def connected(self, owner: Owner) -> AsyncIterator[Client]:
        """The connection to the owner's process. Raises ToolFailed when the process ends meanwhile, or when there are
        too many; OSError when it cannot be started."""
        session = await self._usable(owner)
        session.users += 1
        if session.ending is not None:
            session.ending.cancel()
        try:
            yield await session.client()
        except asyncio.CancelledError:
            session.doubt()
            raise
        except OSError:
            self._drop(owner, session)
            raise
        except Exception:
            if not session.over:
                raise
            raise ToolFailed("unavailable", session.process.trouble or "its process ended") from None
        finally:
            session.users -= 1
            if not session.users:
                loop = asyncio.get_running_loop()
                session.ending = loop.call_later(self._idle, partial(self._drop, owner, session))

    async def close(self) -> None:
        """End all processes."""
        for owner, session in list(self._sessions.items()):
            self._drop(owner, session)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _usable(self, owner: Owner) -> _Session:
        """The owner's session: the one that is kept, if it still answers."""
        session = self._sessions.get(owner)
        if session is not None and not session.over and session.doubtful and not await _answers(session):
            log.warning("the MCP server %s does not answer; it is started again", owner.name)
            self._drop(owner, session)
        session = self._sessions.get(owner)
        if session is None or session.over:
            if session is not None:
                self._drop(owner, session)
            self._make_room()
            session = self._sessions[owner] = _Session(owner, self._max_bytes)
        self._sessions.move_to_end(owner)
        return session

    def _make_room(self) -> None:
        """End what was not used for the longest time, where there are too many. Raises ToolFailed."""
        if len(self._sessions) < self._most:
            return
        unused = next(((owner, each) for owner, each in self._sessions.items() if not each.users), None)
        if unused is None:
            raise ToolFailed("unavailable", f"all {self._most} processes of MCP servers are in use")
        self._drop(*unused)

    def _drop(self, owner: Owner, session: _Session) -> None:
        if self._sessions.get(owner) is session:
            del self._sessions[owner]
        if session.ending is not None:
            session.ending.cancel()
        session.end()
        if not session.task.done():
            self._leaving.add(session.task)
            session.task.add_done_callback(self._leaving.discard)


async def _answers(session: _Session) -> bool:
    """Whether a server that may hang still does something."""
    try:
        async with asyncio.timeout(_PROOF):
            client = await session.client()
            await client.list_tools()
    except Exception:
        return False
    session.doubtful = False
    return True
