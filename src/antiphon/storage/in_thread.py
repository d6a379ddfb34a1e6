"""Work on a thread with what its owner lets go of afterwards: a descriptor, a file that is open, a draft."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """The result of the work. Whoever is cancelled meanwhile, once or more often, goes on only when it has ended.

    `asyncio.to_thread` lets go at once. A descriptor that is closed then may have its number given to another file or
    socket, and the thread writes into that."""
    context = contextvars.copy_context()
    # No task: what cancels every task of a loop that ends would end the wait for it, too.
    ending = asyncio.get_running_loop().run_in_executor(None, partial(context.run, work, *arguments, **named))
    cancelled: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # Looked at, so that nobody is told that it was lost.
        ending.exception()
        raise cancelled
    return ending.result()
