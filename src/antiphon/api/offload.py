"""Large work on a thread, so that the other streams of a worker go on meanwhile.

What lets go of the interpreter there (tokenising, hashing) costs them nothing; what does not takes turns with them, in
slices of `SLICE` seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LARGE = 64 * 1024
"""In bytes or characters. To read or render less than this takes about a millisecond."""
SLICE = 0.0005
"""For `sys.setswitchinterval`. A thread that has the interpreter gives it up after so long; the event loop asks for it
back after every system call."""


async def offload(large: bool, work: Callable[[], T]) -> T:
    """The result of the work: from a thread when it is `large`, else at once."""
    return await asyncio.to_thread(work) if large else work()
