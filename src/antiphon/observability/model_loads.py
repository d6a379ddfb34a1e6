"""How it is with models that are loaded when they are needed, for Prometheus.

It comes from the loader, which is no worker: so it is no part of what the workers count (`metrics.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from antiphon.observability.model_states import ModelState, State


def exposition(states: Mapping[str, ModelState]) -> bytes:
    """The states as Prometheus reads them; nothing where no model is loaded on demand."""
    if not states:
        return b""
    registry = CollectorRegistry()
    registry.register(_States(states))
    return generate_latest(registry)


class _States(Collector):
    def __init__(self, states: Mapping[str, ModelState]) -> None:
        self._states = states

    def collect(self) -> Iterator[Metric]:
        state = GaugeMetricFamily(
            "antiphon_model_state", "1 for the state that a model is in", labels=["model", "state"]
        )
        loads = CounterMetricFamily("antiphon_model_loads", "Loads of a model", labels=["model", "outcome"])
        unloads = CounterMetricFamily("antiphon_model_unloads", "Unloads of a model, by why", labels=["model", "cause"])
        seconds = CounterMetricFamily("antiphon_model_load_seconds", "Time of loads that succeeded", labels=["model"])
        for name, seen in self._states.items():
            for each in get_args(State):
                state.add_metric([name, each], float(seen.state == each))
            loads.add_metric([name, "ok"], seen.loads)
            loads.add_metric([name, "failed"], seen.failures)
            unloads.add_metric([name, "room"], seen.evicted)
            unloads.add_metric([name, "unused"], seen.expired)
            seconds.add_metric([name], seen.seconds)
        yield from (state, loads, unloads, seconds)
