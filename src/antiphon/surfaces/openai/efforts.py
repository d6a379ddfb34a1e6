"""How much a model is asked to think, in the words of OpenAI's APIs."""

from __future__ import annotations

from typing import Literal

from antiphon.api.conversation import ThinkingPolicy

_EFFORTS: dict[str, Literal["low", "medium", "high", "xhigh", "max"]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}


def known(word: str | None) -> bool:
    """Whether a word for an effort means something here."""
    return word is None or word == "none" or word in _EFFORTS


def thinking(word: str | None, switch: bool | None = None) -> ThinkingPolicy:
    """An effort asks for thinking where a model has it; the template's own `switch`, if told, has the last word."""
    effort = _EFFORTS.get(word or "")
    if switch is False or (switch is None and word == "none"):
        return ThinkingPolicy(mode="disabled")
    if switch:
        return ThinkingPolicy(mode="enabled", effort=effort)
    return ThinkingPolicy(mode="adaptive", effort=effort) if effort else ThinkingPolicy()
