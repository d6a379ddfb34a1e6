"""How far the engine is with the prompt, told in the pings of a stream to clients that ask for it.

The original has nothing like it. So nobody gets it unasked, and it comes in an event that clients of the API pass over:
the official SDKs drop a `ping` without a look at its data.
"""

from __future__ import annotations

from antiphon.api.events import PromptProgress
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.messages import encode

HEADER = "antiphon-progress"

_INTERVAL = 1.0


def is_requested(exchange: Exchange) -> bool:
    """Whether the client asks for it."""
    return exchange.header(HEADER) == "1"


def interval(exchange: Exchange, usual: float) -> float:
    """The longest silence of the stream, in seconds."""
    return min(_INTERVAL, usual) if is_requested(exchange) else usual


def ping(progress: PromptProgress | None) -> bytes:
    """The event; the usual one as long as there is nothing to tell."""
    if progress is None:
        return encode.PING
    read = {
        "prompt_tokens": progress.prompt,
        "cached_tokens": progress.cached,
        "restored_tokens": progress.restored,
        "read_tokens": progress.read,
    }
    return encode.frame("ping", {"type": "ping", "progress": read})
