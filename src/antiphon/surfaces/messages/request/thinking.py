"""What a request says of thinking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from antiphon.api.conversation import ThinkingPolicy
from antiphon.api.errors import BadRequest
from antiphon.surfaces.messages.request import wire

Effort = Literal["low", "medium", "high", "xhigh", "max"]
Mode = Literal["enabled", "disabled", "adaptive", "between_tools"]

_EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_DISPLAYS = ("summarized", "omitted", "updates")
_MODES: dict[str, Mode] = {
    "enabled": "enabled",
    "disabled": "disabled",
    "adaptive": "adaptive",
    "between_tools": "between_tools",
}


def thinking_policy(request: wire.Request, ignored: list[str]) -> ThinkingPolicy:
    """How the model is to think. Raises BadRequest for what the API does not know; what is not acted upon is added to
    `ignored`."""
    wished = request.output_config.effort if request.output_config else None
    effort = _EFFORTS.get(wished or "")
    if wished is not None and effort is None:
        raise BadRequest(f"output_config.effort: Input should be {_alternatives(_EFFORTS)}")
    if request.output_config and request.output_config.task_budget is not msgspec.UNSET:
        ignored.append("output_config.task_budget")
    thinking = request.thinking
    if thinking is None:
        return ThinkingPolicy(effort=effort)
    if thinking.type not in _MODES:
        expected = ", ".join(repr(mode) for mode in sorted(_MODES))
        raise BadRequest(
            f"thinking: Input tag '{thinking.type[:60]}' found using 'type' does not match any of the expected tags: "
            f"{expected}"
        )
    if thinking.display is not None and thinking.display not in _DISPLAYS:
        raise BadRequest(f"thinking.{thinking.type}.display: Input should be {_alternatives(_DISPLAYS)}")
    if thinking.type == "enabled" and thinking.budget_tokens is None:
        raise BadRequest("thinking.enabled.budget_tokens: Field required")
    budget = thinking.budget_tokens if thinking.type == "enabled" else None
    if budget == 0:
        raise BadRequest("thinking.enabled.budget_tokens: Input should be greater than or equal to 1")
    return ThinkingPolicy(mode=_MODES[thinking.type], budget=budget, effort=effort)


def _alternatives(values: Iterable[str]) -> str:
    *most, last = map(repr, values)
    return f"{', '.join(most)} or {last}"
