"""How tokens are sampled and where a reply stops, by the fields that OpenAI's APIs share."""

from __future__ import annotations

from typing import Protocol

from antiphon.api.conversation import Sampling


class Sampled(Protocol):
    """A request that says how to sample."""

    @property
    def temperature(self) -> float | None: ...
    @property
    def top_p(self) -> float | None: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def presence_penalty(self) -> float | None: ...
    @property
    def frequency_penalty(self) -> float | None: ...
    @property
    def stop(self) -> str | list[str] | None: ...


def sampling(request: Sampled) -> Sampling:
    """What a request says of sampling."""
    return Sampling(
        temperature=request.temperature,
        top_p=request.top_p,
        # Both -1 and 0 are in use for "no limit".
        top_k=request.top_k if request.top_k is None else max(request.top_k, 0),
        seed=request.seed,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
    )


def stop_sequences(request: Sampled) -> tuple[str, ...]:
    """The stop sequences of a request, given as one or several; empty ones mean nothing."""
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return tuple(filter(None, stop))
