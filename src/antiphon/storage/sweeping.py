"""What deletes that which has had its time, for as long as a worker lives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from antiphon.storage import files

log = logging.getLogger("antiphon")


async def sweeping(sweep: Callable[[], Awaitable[object]], what: str, pause: float) -> None:
    """Sweep, pause for so many seconds, and again until cancelled. `what` is deleted, in words: a sweep that fails of
    anything is told in the log, and is not the last."""
    while True:
        try:
            await sweep()
        except OSError as error:
            log.warning("%s could not be deleted and stay for now: %s", what, files.reason(error))
        except Exception:
            log.exception("%s could not be deleted and stay for now", what)
        await asyncio.sleep(pause)
