"""How fast the server is: first token, tokens a second, gaps between them, and what a growing conversation costs."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from antiphon_check.basic.messages import prompt_tokens
from antiphon_check.events import Event, folded
from antiphon_check.server import Server, Target

_TOKENS = 64
_REPLIES = 6
"""How many are read at each number of streams, at least."""
_TURNS = 4
_STORY = "Tell me a long story about a lighthouse."


@dataclass(frozen=True)
class Load:
    """Some streams at once, in rounds: the median of seconds to the first piece, the tokens a second of all of them
    together, and the 99th percentile of the gaps between two pieces, in milliseconds."""

    streams: int
    first: float
    rate: float
    gap: float


@dataclass(frozen=True)
class Turn:
    """A turn of a growing conversation: the tokens of its prompt, how many of them were read from the cache (None: the
    server does not tell), and seconds to the first piece."""

    prompt: int
    cached: int | None
    first: float


@dataclass(frozen=True)
class Speed:
    """All that was measured."""

    loads: list[Load]
    turns: list[Turn]


@dataclass(frozen=True)
class _Reading:
    """One streamed reply: seconds to its first piece, the gaps between pieces, and sampled tokens."""

    first: float
    gaps: list[float]
    tokens: int


def measure(target: Target, streams: tuple[int, ...] = (1, 4, 16)) -> Speed:
    """Measures these numbers of streams at once, then the turns of a conversation. Raises Failed where a request
    fails."""
    _read(target, "warm up")
    return Speed([_load(target, count) for count in streams], list(_growing(target)))


def table(speed: Speed) -> str:
    """Two tables in Markdown: a row for each number of streams, and one for each turn."""
    rows = ["| streams | first token, s | tokens a second, all | gap p99, ms |", "|---:|---:|---:|---:|"]
    rows += [f"| {load.streams} | {load.first:.2f} | {load.rate:.1f} | {load.gap:.0f} |" for load in speed.loads]
    rows += ["", "| turn | prompt tokens | read from the cache | first token, s |", "|---:|---:|---:|---:|"]
    for number, turn in enumerate(speed.turns, 1):
        cached = "not told" if turn.cached is None else turn.cached
        rows.append(f"| {number} | {turn.prompt} | {cached} | {turn.first:.2f} |")
    return "\n".join(rows)


def _load(target: Target, count: int) -> Load:
    readings: list[_Reading] = []
    begun = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        while len(readings) < _REPLIES:
            prompts = [f"{_STORY} Number {len(readings) + number}." for number in range(count)]
            readings += pool.map(lambda prompt: _read(target, prompt), prompts)
    seconds = time.monotonic() - begun
    gaps = [gap for reading in readings for gap in reading.gaps] or [0.0]
    first = statistics.median(reading.first for reading in readings)
    return Load(count, first, sum(reading.tokens for reading in readings) / seconds, _percentile(gaps, 99) * 1000)


def _read(target: Target, asked: str) -> _Reading:
    messages = [{"role": "user", "content": asked}]
    begun = time.monotonic()
    events = Server(target).stream(max_tokens=_TOKENS, messages=messages).events
    pieces = [event.time for event in events if event.type == "content_block_delta"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(pieces)]
    return _Reading(pieces[0] - begun if pieces else 0.0, gaps, _sampled(events))


def _sampled(events: list[Event]) -> int:
    return int((folded(events).get("usage") or {}).get("output_tokens") or 0)


def _growing(target: Target) -> Iterator[Turn]:
    system = " ".join(f"Rule {number} of {target.salt}: be brief and kind." for number in range(70))
    messages: list[dict[str, Any]] = []
    for turn in range(1, _TURNS + 1):
        messages.append({"role": "user", "content": f"Question {turn}: why?"})
        begun = time.monotonic()
        stream = Server(target).stream(max_tokens=16, system=system, messages=messages)
        first = next((event.time for event in stream.events if event.type == "content_block_delta"), begun) - begun
        reply = stream.message
        used = reply.get("usage") or {}
        yield Turn(prompt_tokens(used), used.get("cache_read_input_tokens"), first)
        messages.append({"role": "assistant", "content": reply["content"] or "…"})


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
