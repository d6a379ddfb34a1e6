"""How fast the server is: first token, tokens a second, gaps between them, and what a growing conversation costs."""

from __future__ import annotations

import itertools
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from antiphon_check.basic.messages import prompt_tokens
from antiphon_check.events import Event, folded
from antiphon_check.server import Server, Target

_TOKENS = 64
_TURNS = 4
_STORY = "Tell me a long story about a lighthouse."


@dataclass(frozen=True)
class Reading:
    """One streamed reply: seconds to its first piece, the gaps between pieces, seconds in all, and sampled tokens."""

    first: float
    gaps: list[float]
    whole: float
    tokens: int


def table(target: Target, streams: tuple[int, ...] = (1, 4, 16)) -> str:
    """A table in Markdown: a row for each number of streams at once, then one for each turn of a conversation. Raises
    Failed where a request fails."""
    rows = ["| streams | first token, s | tokens a second, all | gap p99, ms |", "|---:|---:|---:|---:|"]
    _reading(target, "warm up")
    for count in streams:
        begun = time.monotonic()
        with ThreadPoolExecutor(count) as pool:
            readings = list(pool.map(lambda number: _reading(target, f"{_STORY} Number {number}."), range(count)))
        seconds = time.monotonic() - begun
        gaps = [gap for reading in readings for gap in reading.gaps] or [0.0]
        first = statistics.median(reading.first for reading in readings)
        speed = sum(reading.tokens for reading in readings) / seconds
        rows.append(f"| {count} | {first:.2f} | {speed:.1f} | {_percentile(gaps, 99) * 1000:.0f} |")
    return "\n".join([*rows, "", *_growing(target)])


def _reading(target: Target, asked: str) -> Reading:
    messages = [{"role": "user", "content": asked}]
    begun = time.monotonic()
    events = Server(target).stream(max_tokens=_TOKENS, messages=messages).events
    pieces = [event.at for event in events if event.type == "content_block_delta"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(pieces)]
    first = pieces[0] - begun if pieces else 0.0
    return Reading(first, gaps, time.monotonic() - begun, _sampled(events))


def _sampled(events: list[Event]) -> int:
    return int((folded(events).get("usage") or {}).get("output_tokens") or 0)


def _growing(target: Target) -> list[str]:
    rows = ["| turn | prompt tokens | read from the cache | first token, s |", "|---:|---:|---:|---:|"]
    system = " ".join(f"Rule {number}: be brief and kind." for number in range(150))
    messages: list[dict[str, Any]] = []
    for turn in range(1, _TURNS + 1):
        messages.append({"role": "user", "content": f"Question {turn}: why?"})
        begun = time.monotonic()
        stream = Server(target).stream(max_tokens=16, system=system, messages=messages)
        first = next((event.at for event in stream.events if event.type == "content_block_delta"), begun) - begun
        reply = stream.message
        used = reply.get("usage") or {}
        read = used.get("cache_read_input_tokens")
        rows.append(f"| {turn} | {prompt_tokens(used)} | {'not told' if read is None else read} | {first:.2f} |")
        messages.append({"role": "assistant", "content": reply["content"] or "…"})
    return rows


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
