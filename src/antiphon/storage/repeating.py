"""Work that goes on beside the requests for as long as a worker lives, whatever happens to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from antiphon.storage import files

log = logging.getLogger("antiphon")

AGAIN = 5.0
"""Seconds before work begins again that should not have ended."""


async def repeat(work: Callable[[], Awaitable[object]], trouble: str, pause: float = AGAIN) -> None:
    """Do the work, pause for so many seconds, and again until cancelled. Work that fails of anything is no exception:
    the log tells why, after the words for what that means, the `trouble`."""
    while True:
        try:
            await work()
        except OSError as error:
            log.warning("%s: %s", trouble, files.reason(error))
        except Exception:
            log.exception("%s", trouble)
        await asyncio.sleep(pause)
