"""What a request says of thinking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from msgspec import UnsetType

from antiphon.api.conversation import ThinkingPolicy
from antiphon.api.errors import BadRequest
from antiphon.surfaces.messages.request import wire
from antiphon.surfaces.messages.request.checks import Indexed

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


def effort_in_force(request: wire.Request, messages: Sequence[Indexed]) -> Effort | None:
    """The effort that the reply is made with: that of the request until a system message sets another. Behind a user
    message with anything but tool results it holds for the answer to that, elsewhere from the next such message on.
    Raises BadRequest for what the API does not know."""
    effort = _effort(request.output_config, "output_config")
    later, answering = effort, False
    for (index, role, blocks), message in zip(messages, request.messages, strict=True):
        if role == "system":
            later = _effort(message.output_config, f"messages.{index}.output_config") or later
            effort = later if answering else effort
        else:
            answering = role == "user" and (answering or any(not isinstance(each, wire.ToolResult) for each in blocks))
            effort = later if answering else effort
    return effort


def _effort(config: wire.OutputConfig | wire.SystemOutputConfig | UnsetType | None, where: str) -> Effort | None:
    if not config or config.effort is None:
        return None
    if config.effort not in _EFFORTS:
        raise BadRequest(f"{where}.effort: Input should be {_alternatives(_EFFORTS)}")
    return _EFFORTS[config.effort]


def thinking_policy(request: wire.Request, effort: Effort | None, ignored: list[str]) -> ThinkingPolicy:
    """How the model is to think. Raises BadRequest for what the API does not know; what is not acted upon is added to
    `ignored`."""
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
