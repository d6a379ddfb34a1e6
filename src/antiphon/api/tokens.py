"""The tokens of a reply, one by one, for those who train on what was sampled."""

from __future__ import annotations

import msgspec

MOST_ALTERNATIVES = 20
"""How many of the likeliest tokens may be told for each place, as OpenAI's API bounds it."""


class Token(msgspec.Struct, frozen=True, gc=False):
    """A token of a reply. `logprob` is the natural logarithm of its probability as the engine tells it; None where it
    was not asked for, or the engine lost it. `top` are the likeliest tokens of its place with theirs, the likeliest
    first. One that was not `sampled` was put there for the model, to end its thinking."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    sampled: bool = True


class TokenReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told of each token beside its id: its log-probability, so many `alternatives` with theirs, the
    bytes that all of these stand for (`spelled`)."""

    logprobs: bool = False
    alternatives: int = 0
    spelled: bool = False
