"""Metrics, by watching requests pass. Stage 7 of the path: events go by unchanged.

A `Watch` belongs to one request and counts in plain numbers, because it is asked once for every batch of tokens; what
it has seen is added to the Prometheus metrics when the request is over. With several workers the metrics live in files
that prometheus-client shares between them (`PROMETHEUS_MULTIPROC_DIR`, set by the supervisor), so that any worker
answers for all. No label ever comes from a client: models are the served ones, keys the first digits of their hash.
"""

from __future__ import annotations

import glob
import os
import re
import time
from bisect import bisect_left
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from antiphon.api.events import AnyEvent, Reply, Started, ToolBlock

SHARED_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where several workers keep their metrics. It must be set before this module is imported."""

GAPS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)

_LIMITS = ("max_tokens", "model_context_window_exceeded")


class ToolCall(NamedTuple):
    """A call of a tool that ran here."""

    tool: str
    code: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.tool}:{self.code or 'ok'}:{self.seconds:.2f}"


class Watch:
    """What one request used, and when. Times are seconds of `clock`, spans seconds, None where nothing happened.
    `key` is the label of the client's key, `model` the served model's name once it is known; `lost` tokens of the
    prompt before were computed again, and `loss` says why; `failure` is the kind of failure that ended a stream after
    its first byte. `stages` are the stages of the path with the times at which they were entered; one lasts until the
    next, the last until `ended`. A message with tools that run here takes several `rounds`: `prompt` and `cached` are
    the last one's, beside those of the earlier."""

    __slots__ = (
        "began",
        "cached",
        "clock",
        "earlier_cached",
        "earlier_prompt",
        "ended",
        "failure",
        "fallbacks",
        "first",
        "gap_sum",
        "gaps",
        "key",
        "last",
        "loss",
        "lost",
        "model",
        "output",
        "parse_failures",
        "prompt",
        "queued",
        "reason",
        "remembered",
        "rounds",
        "stages",
        "tokenised",
        "told",
        "told_at",
        "tools",
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began = clock()
        self.ended = 0.0
        self.stages = [("decode", self.began)]
        self.key = self.model = self.reason = self.failure = self.loss = ""
        self.queued: float | None = None
        self.tokenised: float | None = None
        self.first: float | None = None
        self.last = 0.0
        self.gaps = [0] * (len(GAPS) + 1)
        self.gap_sum = 0.0
        self.prompt = self.cached = self.output = self.told = 0
        self.told_at = self.began
        self.remembered = self.fallbacks = self.parse_failures = self.lost = 0
        self.rounds = self.earlier_prompt = self.earlier_cached = 0
        self.tools: list[ToolCall] = []

    def asked(self, prompt: int) -> None:
        """The model is asked, with a prompt of so many tokens: for the reply, or for a further round of it."""
        self.earlier_prompt += self.prompt
        self.earlier_cached += self.cached
        self.prompt, self.cached = prompt, 0
        self.rounds += 1

    def called(self, tool: str, code: str, seconds: float) -> None:
        """A call of a tool that runs here is over: the tool's family, its error code (empty: none), the seconds."""
        self.tools.append(ToolCall(tool, code, seconds))

    def enter(self, stage: str) -> float:
        """The request goes on to its next stage; gives the seconds that the one before took."""
        now = self.clock()
        lasted = now - self.stages[-1][1]
        self.stages.append((stage, now))
        return lasted

    def end(self) -> float:
        """The request is over; gives the seconds that it took."""
        self.ended = self.clock()
        return self.ended - self.began

    def batch(self, events: list[AnyEvent]) -> float:
        """A batch of events passes; gives the time. The gap to the one before is counted once, however many tokens the
        engine's read brought. An empty one tells the client nothing."""
        now = self.clock()
        if not events:
            return now
        if self.last:
            gap = now - self.last
            self.gaps[bisect_left(GAPS, gap)] += 1
            self.gap_sum += gap
            self.last = now
        elif type(events[-1]) is not Started:
            self.first, self.last = now - self.began, now
        return now

    def written(self, now: float, tokens: int) -> None:
        """The running attempt has so many tokens by now. The metrics are told once a second, so that a long reply does
        not show only when it is over."""
        if now - self.told_at >= 1.0:
            self.told_at = now
            # Of several replies at once, another may have more.
            if (more := self.output + tokens - self.told) > 0:
                _metrics.output.labels(self.model, self.key).inc(more)
                self.told += more

    def finished(self, reply: Reply) -> None:
        """A reply is whole. A call that breaks off without a limit's doing is one that the model got wrong."""
        self.reason = reply.reason
        if reply.reason not in _LIMITS:
            self.parse_failures += sum(isinstance(b, ToolBlock) and not b.complete for b in reply.blocks)

    def generated(self, cached: int, output: int) -> None:
        """An attempt is over, whole or not."""
        self.cached = cached
        self.output += output

    def facts(self) -> dict[str, str | int | float]:
        """What the request's line in the log says of it; spans are seconds."""
        facts: dict[str, str | int | float] = {"key": self.key} if self.key else {}
        if not self.model:
            return facts
        prompt, cached = self.earlier_prompt + self.prompt, self.earlier_cached + self.cached
        facts |= {"in": prompt, "cached": cached, "out": self.output}
        if self.tools:
            facts |= {"rounds": self.rounds, "tools": " ".join(map(str, self.tools))}
        if self.lost:
            facts["lost"] = self.lost
        if self.reason:
            facts["stop"] = self.reason
        if self.first is not None:
            facts["ttft"] = self.first
        if self.queued is not None and self.queued >= 0.001:
            facts["queued"] = self.queued
        return facts

    def server_timing(self) -> bytes:
        """The value of a `server-timing` header, in milliseconds."""
        spans = {"tokenise": self.tokenised, "queue": self.queued, "first": self.first}
        spans["total"] = self.clock() - self.began
        return ", ".join(f"{name};dur={1000 * span:.1f}" for name, span in spans.items() if span is not None).encode()


watched: ContextVar[Watch | None] = ContextVar("watched", default=None)
"""The watch of the request that the running task works for."""


def watch() -> Watch:
    """The watch of the present request; outside of any, one that nobody reads."""
    return watched.get() or Watch()


class _Metrics:
    """Every metric of the server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry, shared = self.registry, bool(os.environ.get(SHARED_VARIABLE))
        if not shared:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"antiphon_{name}", text, (*labels, "model", "key"), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"antiphon_{name}", text, ("model", "key"), buckets=buckets, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"antiphon_{name}", text, ("model",), multiprocess_mode="livesum", registry=registry)

        self.requests = counter("requests", "Requests answered", "surface", "status")
        self.gone = counter("clients_gone", "Requests whose client went away before the end", "surface")
        self.broken = counter("streams_broken", "Streams that ended in an error event", "surface", "kind")
        self.replies = counter("replies", "Whole replies, by why they ended", "reason")
        self.input = counter("input_tokens", "Prompt tokens, re-used from the cache or new", "kind")
        self.output = counter("output_tokens", "Sampled tokens")
        self.prompts = counter("prompts", "Prompts that continue a remembered conversation, or not", "prefix")
        self.losses = counter("prefix_losses", "Prompts that re-used less than the one before had", "cause")
        self.lost = counter("prefix_lost_tokens", "Tokens of those that were computed again", "cause")
        self.parse_failures = counter("parse_failures", "Tool calls that the model wrote wrong")
        self.fallbacks = counter("constraint_fallbacks", "Demands on the output that no grammar could hold")
        self.queued = histogram("queue_seconds", "Wait for a slot of the engine", WAITS)
        self.tokenised = histogram("tokenise_seconds", "Rendering and tokenising the prompt", WAITS)
        self.first = histogram("first_token_seconds", "From the request's head to the first token", WAITS)
        self.gaps = histogram("inter_token_seconds", "Between tokens of a reply, as they leave the engine", GAPS)
        self.tools = counter("server_tool_calls", "Calls of tools that run here", "tool", "outcome")
        self.tool_seconds = Histogram(
            "antiphon_server_tool_seconds", "Time of such calls", ("tool",), buckets=WAITS, registry=registry
        )
        self.running = gauge("running", "Requests that hold a slot of the engine")
        self.waiting = gauge("waiting", "Requests that wait for a slot of the engine")


_metrics = _Metrics()


def running(model: str, change: int) -> None:
    """So many more requests hold a slot."""
    _metrics.running.labels(model).inc(change)


def waiting(model: str, change: int) -> None:
    """So many more requests wait for a slot."""
    _metrics.waiting.labels(model).inc(change)


def count(seen: Watch, *, surface: str, status: int, gone: bool) -> None:
    """A request is over: add what its watch has seen to the metrics. `gone` says that its client went away."""
    whose = seen.model, seen.key
    _metrics.requests.labels(surface, str(status) if status else "none", *whose).inc()
    if gone:
        _metrics.gone.labels(surface, *whose).inc()
    if seen.failure:
        _metrics.broken.labels(surface, seen.failure, *whose).inc()
    if not seen.model:
        return
    if seen.prompt:
        _metrics.prompts.labels("continued" if seen.remembered else "fresh", *whose).inc()
    if seen.lost:
        _metrics.losses.labels(seen.loss, *whose).inc()
        _metrics.lost.labels(seen.loss, *whose).inc(seen.lost)
    if seen.first is not None:
        cached = seen.earlier_cached + seen.cached
        _metrics.input.labels("cached", *whose).inc(cached)
        _metrics.input.labels("new", *whose).inc(max(seen.earlier_prompt + seen.prompt - cached, 0))
        _metrics.output.labels(*whose).inc(seen.output - seen.told)
    for call in seen.tools:
        _metrics.tools.labels(call.tool, call.code or "ok", *whose).inc()
        _metrics.tool_seconds.labels(call.tool).observe(call.seconds)
    if seen.reason:
        _metrics.replies.labels(seen.reason, *whose).inc()
    _metrics.parse_failures.labels(*whose).inc(seen.parse_failures)
    _metrics.fallbacks.labels(*whose).inc(seen.fallbacks)
    spans = ((_metrics.tokenised, seen.tokenised), (_metrics.queued, seen.queued), (_metrics.first, seen.first))
    for histogram, span in spans:
        if span is not None:
            histogram.labels(*whose).observe(span)
    _add(_metrics.gaps.labels(*whose), seen.gaps, seen.gap_sum)


def _add(histogram: Histogram, counts: list[int], total: float) -> None:
    """Many observations at once, for which prometheus-client (0.26) has no public way."""
    if any(counts):
        histogram._sum.inc(total)
        for bucket, more in zip(histogram._buckets, counts, strict=True):
            if more:
                bucket.inc(more)


def exposition() -> bytes:
    """The metrics of all workers, as Prometheus reads them."""
    shared = os.environ.get(SHARED_VARIABLE)
    if not shared:
        return generate_latest(_metrics.registry)
    for file in glob.glob(os.path.join(shared, "gauge_live*.db")):
        found = re.search(r"_(\d+)\.db$", file)
        if found and not _alive(int(found[1])):
            mark_process_dead(int(found[1]), shared)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, shared)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
