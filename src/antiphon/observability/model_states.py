"""How it is with models that are loaded when they are needed.

No exporter of metrics is imported here: workers read this before they know whether there is room for their metrics
(`process/worker_state.py`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["unloaded", "loading", "loaded", "unloading"]


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """How it is with a model, and what has happened to it since the server's start. `seconds` is how long its loads
    took together. It was `evicted` to make room, and `expired` because nobody had used it for a while."""

    state: State = "unloaded"
    loads: int = 0
    failures: int = 0
    evicted: int = 0
    expired: int = 0
    seconds: float = 0.0
