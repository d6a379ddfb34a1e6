"""What workers and the loader of models say to each other, a line each, over a connection for each hold on a model.

    worker   {"model":"large"}           I need it
    loader   {"engine":"llama.cpp+…"}    its engine answers there (or {"error":"…"}: it cannot be loaded)
    worker   busy, idle                  my requests to it have begun, or are all over
    loader   recall                      it is to be unloaded: begin nothing more, and hang up when you are done

The state of every model is a file beside (`worker_state.py`).
"""

from __future__ import annotations

import msgspec

BUSY, IDLE, RECALL = b"busy\n", b"idle\n", b"recall\n"


class Wanted(msgspec.Struct, frozen=True):
    """A worker's first line: the model it needs."""

    model: str


class Loaded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer: where the engine is, or why there is none."""

    engine: str = ""
    error: str = ""


def line(message: Wanted | Loaded) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message) + b"\n"
