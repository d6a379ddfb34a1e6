"""OpenTelemetry traces: one span for each request, with a child for each stage of its path.

Off, and nothing imported, unless the usual variables ask for it (`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin). A span is
made when its request is over, from the times that its watch took anyway, so a running reply bears no cost. Names are
those of OpenTelemetry's semantic conventions for HTTP and generative AI (the latter still in development) where
they have one, else begin with `antiphon.`. What is said in a conversation is never sent.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from antiphon import __version__
from antiphon.observability.request_watch import Watch

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = logging.getLogger("antiphon")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_FAREWELL = 3.0
"""Seconds that the last spans have to reach the collector when the server ends."""


def is_enabled(environment: Mapping[str, str]) -> bool:
    """Whether the variables ask for traces: by an endpoint, or by naming the exporter `otlp`."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    return exporter == "otlp" if exporter else any(environment.get(name) for name in _ENDPOINTS)


def begin(environment: Mapping[str, str]) -> Traces | None:
    """What takes traces down, None when they are not asked for or cannot be sent; the latter is said in the log."""
    if not is_enabled(environment):
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        log.warning("no traces are sent: the configured protocol is %s, and only http/protobuf is supported", protocol)
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning("no traces are sent: %s; install them with: pip install 'antiphon[otel]'", error)
        return None
    named = {"service.name": "antiphon", "service.version": __version__}
    resource = Resource.create({**named, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


class Traces:
    """Takes down requests that are over, and sends them from a thread of its own."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        self._provider = provider
        self._tracer = provider.get_tracer("antiphon", __version__)
        self._extract = extract
        self._within = set_span_in_context
        self._server = SpanKind.SERVER
        self._failed = partial(Status, StatusCode.ERROR)

    def __call__(self, watch: Watch, route: str, facts: Mapping[str, Any], headers: Mapping[str, str]) -> str:
        """Take down a request: `route` is the path that answered, `facts` its line in the log. A trace that the client
        began in its `headers` goes on. Gives the trace's id, empty when it is not sampled."""
        # A watch counts from nowhere in particular; a span has the time of day.
        zero = time.time_ns() - round(1e9 * watch.clock())
        span = self._tracer.start_span(
            f"{facts['method']} {route}" if route else facts["method"],
            self._extract(headers),
            self._server,
            _request(route, facts, headers),
            start_time=zero + round(1e9 * watch.began),
        )
        if not span.is_recording():
            return ""
        span.set_attributes(_answer(watch, facts))
        if watch.failure or facts["status"] >= 500:
            span.set_attribute("error.type", watch.failure or str(facts["status"]))
            span.set_status(self._failed(facts.get("problem")))
        inside = self._within(span)
        ends = [began for _, began in watch.stages[1:]] + [watch.ended]
        for (stage, began), ended in zip(watch.stages, ends, strict=True):
            child = self._tracer.start_span(stage, inside, start_time=zero + round(1e9 * began))
            if stage == "generate" and watch.first is not None:
                child.add_event("first token", timestamp=zero + round(1e9 * (watch.began + watch.first)))
            child.end(zero + round(1e9 * ended))
        span.end(zero + round(1e9 * watch.ended))
        return format(span.get_span_context().trace_id, "032x")

    def close(self) -> None:
        """Send what is left. A collector that does not answer keeps nobody."""
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_FAREWELL)


def _request(route: str, facts: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """What was asked, in the words of the conventions; samplers see this much."""
    attributes = {
        "http.request.method": facts["method"],
        "http.route": route,
        "url.path": facts["path"],
        "url.scheme": "http",
        "user_agent.original": headers.get("user-agent"),
        "gen_ai.request.model": facts.get("model"),
        "gen_ai.request.stream": facts.get("stream"),
        "antiphon.request_id": facts["id"],
    }
    return {name: value for name, value in attributes.items() if value not in (None, "")}


def _answer(watch: Watch, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What became of it."""
    attributes: dict[str, Any] = {"http.response.status_code": facts["status"] or None, "antiphon.key": watch.key}
    if "problem" in facts:
        attributes["antiphon.problem"] = facts["problem"]
    if watch.model:
        attributes |= {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "antiphon",
            "gen_ai.response.model": watch.model,
            "gen_ai.response.finish_reasons": (watch.reason,) if watch.reason else None,
            "gen_ai.response.time_to_first_chunk": watch.first,
            "gen_ai.usage.input_tokens": watch.prompt,
            "gen_ai.usage.cache_read.input_tokens": watch.cached,
            "gen_ai.usage.output_tokens": watch.output,
            "antiphon.prompt.remembered_tokens": watch.remembered,
            "antiphon.prompt.lost_tokens": watch.lost,
            "antiphon.parse_failures": watch.parse_failures,
            "antiphon.constraint_fallbacks": watch.fallbacks,
        }
    return {name: value for name, value in attributes.items() if value not in (None, "")}
