"""The Prometheus metrics, fed by what the watches of requests have seen (`request_watch.py`).

With several workers the metrics live in files that prometheus-client shares between them (`PROMETHEUS_MULTIPROC_DIR`,
set by the supervisor), so that any worker answers for all. No label ever comes from a client: models are the served
ones, keys the first digits of their hash.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from antiphon.observability import dead_workers

if TYPE_CHECKING:
    from antiphon.observability.request_watch import Watch

SHARED_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where several workers keep their metrics. It must be set before this module is imported."""

GAPS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0)


class _Metrics:
    """Every metric of the server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry, shared = self.registry, os.environ.get(SHARED_VARIABLE)
        if shared:
            # A worker starts when another one has died, and nobody may ever ask for the metrics.
            dead_workers.bury(shared)
        else:
            ProcessCollector(registry=registry)
            PlatformCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"antiphon_{name}", text, (*labels, "model", "key"), registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"antiphon_{name}", text, ("model", "key"), buckets=buckets, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"antiphon_{name}", text, ("model",), multiprocess_mode="livesum", registry=registry)

        self.requests = counter("requests", "Requests answered", "surface", "status")
        self.clients_gone = counter("clients_gone", "Requests whose client went away before the end", "surface")
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
        self.prefilled = counter("prefill_tokens", "Prompt tokens that were computed, as they are")
        self.restored = counter("restored_tokens", "Prompt tokens that were read back from disk")
        self.prefill = histogram("prefill_seconds", "Reading the prompt, until the first token", WAITS)
        self.unread = gauge("unread_tokens", "Prompt tokens of requests at work that are still to be read")
        self.tools = counter("server_tool_calls", "Calls of tools that run here", "tool", "outcome")
        self.tool_seconds = Histogram(
            "antiphon_server_tool_seconds", "Time of such calls", ("tool",), buckets=WAITS, registry=registry
        )
        self.running = gauge("running", "Requests that hold a slot of the engine")
        self.waiting = gauge("waiting", "Requests that wait for a slot of the engine")
        self.loading = gauge("waiting_for_load", "Requests in a slot that wait for their model to be loaded")


_metrics = _Metrics()


def running(model: str, change: int) -> None:
    """So many more requests hold a slot."""
    _metrics.running.labels(model).inc(change)


def waiting(model: str, change: int) -> None:
    """So many more requests wait for a slot."""
    _metrics.waiting.labels(model).inc(change)


def loading(model: str, change: int) -> None:
    """So many more requests wait for their model to be loaded."""
    _metrics.loading.labels(model).inc(change)


def written(model: str, key: str, tokens: int) -> None:
    """So many more tokens were sampled for a request that is still at work."""
    _metrics.output.labels(model, key).inc(tokens)


def prefilled(model: str, key: str, tokens: int) -> None:
    """So many more tokens of a prompt were computed."""
    _metrics.prefilled.labels(model, key).inc(tokens)


def restored(model: str, key: str, tokens: int) -> None:
    """So many tokens of a prompt were read back from disk."""
    _metrics.restored.labels(model, key).inc(tokens)


def unread(model: str, change: int) -> None:
    """So many more tokens are still to be read."""
    _metrics.unread.labels(model).inc(change)


def count(seen: Watch, *, surface: str, status: int, client_gone: bool) -> None:
    """A request is over: add what its watch has seen to the metrics. `client_gone` says that its client went away."""
    whose = seen.model, seen.key
    _metrics.requests.labels(surface, str(status) if status else "none", *whose).inc()
    if client_gone:
        _metrics.clients_gone.labels(surface, *whose).inc()
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
        _metrics.output.labels(*whose).inc(seen.output - seen.reported)
    if seen.reading.seconds:
        _metrics.prefill.labels(*whose).observe(seen.reading.seconds)
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
    dead_workers.bury(shared)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, shared)  # type: ignore[no-untyped-call]
    with dead_workers.reading(shared):
        return generate_latest(registry)
