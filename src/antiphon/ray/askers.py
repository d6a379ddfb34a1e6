"""The surfaces that ask an engine actor. Ray cancels what a caller calls off, but not what a caller that died had asked
for; left alone, that would hold a slot until its last token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

import msgspec
import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError

from antiphon.engines import Piece, Prefilled

_PERIOD = 2.0
"""Seconds between two looks at a surface that waits for something."""


class Asker(msgspec.Struct, frozen=True):
    """A surface's own actor."""

    id: str
    actor: ActorHandle

    @staticmethod
    def here() -> Asker:
        """The actor that this process is."""
        context = ray.get_runtime_context()
        return Asker(context.get_actor_id(), context.current_actor)


class Askers:
    """What is being done for whom. A surface is looked at only while something is done for it."""

    def __init__(self) -> None:
        self._work: dict[str, set[asyncio.Task[None]]] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def relayed(
        self, asker: Asker, source: AsyncGenerator[Prefilled | list[Piece], None]
    ) -> AsyncGenerator[Prefilled | list[Piece], None]:
        """The source, which is left when the asker dies. Pieces that came while the last were taken go together."""
        items: list[Prefilled | list[Piece]] = []
        arrived = asyncio.Event()

        async def pump() -> None:
            async with aclosing(source):
                async for item in source:
                    items.append(item)
                    arrived.set()

        pumping = asyncio.ensure_future(pump())
        pumping.add_done_callback(lambda _: arrived.set())
        try:
            with self._working(asker, pumping):
                while items or not pumping.done():
                    await arrived.wait()
                    arrived.clear()
                    taken, items[:] = items[:], []
                    for item in together(taken):
                        yield item
            await pumping
        finally:
            pumping.cancel()
            await asyncio.gather(pumping, return_exceptions=True)

    @contextmanager
    def _working(self, asker: Asker, task: asyncio.Task[None]) -> Iterator[None]:
        work = self._work.setdefault(asker.id, set())
        work.add(task)
        if asker.id not in self._watches:
            self._watches[asker.id] = asyncio.ensure_future(self._watch(asker))
        try:
            yield
        finally:
            work.discard(task)

    async def _watch(self, asker: Asker) -> None:
        work = self._work[asker.id]
        while work:
            await asyncio.sleep(_PERIOD)
            try:
                await asker.actor.__ray_ready__.remote()
            except ActorDiedError:
                for task in work:
                    task.cancel()
                break
            except ray.exceptions.RayError:
                # It cannot be told now; it may only be hard to reach.
                continue
        del self._work[asker.id], self._watches[asker.id]


def together(items: list[Prefilled | list[Piece]]) -> list[Prefilled | list[Piece]]:
    """The same with the pieces of neighbours in one list."""
    joined: list[Prefilled | list[Piece]] = []
    for item in items:
        if joined and isinstance(item, list) and isinstance(last := joined[-1], list):
            last.extend(item)
        else:
            joined.append(item)
    return joined
