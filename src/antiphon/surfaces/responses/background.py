"""Responses that are made while nobody waits for them.

Each is a task of the worker that took the request. How it stands is kept where every worker finds it; one that was
cancelled elsewhere is noticed within a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from antiphon.api.errors import Failure, Internal, NotFound
from antiphon.surfaces.responses.kept import KeptResponses

log = logging.getLogger("antiphon.http")

SECONDS = 1.0
"""How often it is looked whether a response was cancelled."""

Failed = Callable[[Failure], bytes]
"""The response, as JSON, that a failure is."""


class Background:
    """The responses that this worker makes. When `leaving` is done, those that are left fail."""

    def __init__(self, kept: KeptResponses, leaving: asyncio.Future[None] | None) -> None:
        self._kept = kept
        self._leaving = leaving
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, id: str, owner: str, making: Coroutine[Any, Any, tuple[str, bytes]], failed: Failed) -> None:
        """Have a response made: `making` gives how it ended, and the response as JSON."""
        task = asyncio.ensure_future(self._make(id, owner, asyncio.ensure_future(making), failed))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make(self, id: str, owner: str, making: asyncio.Future[tuple[str, bytes]], failed: Failed) -> None:
        try:
            status, response = await self._watched(id, owner, making)
        except _Cancelled:
            return
        except Failure as failure:
            status, response = "failed", failed(failure)
        except Exception:
            log.exception("a response in the background broke off")
            status, response = "failed", failed(Internal("Internal server error"))
        finally:
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)
        try:
            await self._kept.settle(id, status, response, unless="cancelled")
        except Failure as failure:
            log.warning("%s is lost: %s", id, failure.message)

    async def _watched(self, id: str, owner: str, making: asyncio.Future[tuple[str, bytes]]) -> tuple[str, bytes]:
        ends: list[asyncio.Future[Any]] = [making, *([] if self._leaving is None else [self._leaving])]
        while True:
            await asyncio.wait(ends, timeout=SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                return making.result()
            if self._leaving is not None and self._leaving.done():
                raise Internal("the server was stopped before the response was made")
            try:
                kept = await self._kept.find(id, owner)
            except NotFound:
                raise _Cancelled from None
            if kept.status == "cancelled":
                raise _Cancelled


class _Cancelled(Exception):
    """Nobody wants the response any more."""
