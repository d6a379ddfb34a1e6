"""Clients that leave."""

from __future__ import annotations

import time

from antiphon_check.registry import API, check
from antiphon_check.server import Server
from antiphon_check.verdict import expect

_LONG = [{"role": "user", "content": "Count from one to a thousand, in words."}]


@check(
    "agent.cancel",
    "A client that leaves in the middle of a stream frees its place.",
    reason="People press Escape; the next request must not wait for what nobody reads.",
    source=API + "messages-streaming",
)
def cancel(server: Server) -> None:
    begun = time.monotonic()
    server.message()
    usual = time.monotonic() - begun
    for _ in range(8):
        with server.streaming(max_tokens=1500, messages=_LONG) as events:
            for event in events:
                if event.type == "content_block_delta":
                    break
    begun = time.monotonic()
    server.message()
    took = time.monotonic() - begun
    expect(took < 10 * usual + 5, f"a small request took {usual:.1f} s before, {took:.1f} s after eight clients left")


@check(
    "agent.pings",
    "Pings in a stream are events of their own, with nothing but their type.",
    reason="They keep proxies from closing a stream that waits.",
    source="https://docs.anthropic.com/en/docs/build-with-claude/streaming",
)
def pings(server: Server) -> None:
    for event in server.stream().events:
        if event.type == "ping" or event.name == "ping":
            expect(event.type == event.name, f"a ping is named {event.name!r}, and its data says {event.type!r}")
