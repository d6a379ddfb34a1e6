"""The models as Codex's catalogue describes them, beside the list that other programs read.

Its members are those of `ModelInfo` in Codex 0.171; what it leaves out it takes for unknown. The instructions are ours:
a catalogue must have some.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.serving.service import ModelCard

_INSTRUCTIONS = """\
You are a coding agent in a terminal, working in the user's folder. Read what you need, change what was asked for and \
nothing else, and run the tests where there are any. Edit files with apply_patch. Say in a sentence or two what you \
did, and what you could not do."""
_EFFORTS = {
    "low": "Thinks briefly",
    "medium": "Thinks as long as it usually does",
    "high": "Thinks for longer",
}


class Effort(msgspec.Struct):
    """An effort that a model can be asked for."""

    effort: str
    description: str


class Truncation(msgspec.Struct):
    """How much of a tool's output is shown to the model."""

    mode: Literal["tokens"] = "tokens"
    limit: int = 10_000


class CatalogueModel(msgspec.Struct, kw_only=True):
    """A model in Codex's catalogue."""

    slug: str
    display_name: str
    description: str | None = None
    default_reasoning_level: str | None
    supported_reasoning_levels: list[Effort]
    shell_type: Literal["unified_exec"] = "unified_exec"
    visibility: Literal["list"] = "list"
    supported_in_api: bool = True
    priority: int
    upgrade: None = None
    base_instructions: str = _INSTRUCTIONS
    supports_reasoning_summaries: bool
    support_verbosity: bool = False
    default_verbosity: None = None
    apply_patch_tool_type: Literal["freeform"] = "freeform"
    truncation_policy: Truncation
    supports_parallel_tool_calls: bool = True
    context_window: int
    experimental_supported_tools: tuple[()] = ()
    input_modalities: list[Literal["text", "image"]]


def catalogue(cards: list[ModelCard]) -> list[CatalogueModel]:
    """The entries of these models, the default one first."""
    return [_entry(card, place) for place, card in enumerate(cards)]


def _entry(card: ModelCard, place: int) -> CatalogueModel:
    efforts = [Effort(*each) for each in _EFFORTS.items()] if card.thinking else []
    # A model with a small window must not lose it to one output.
    shown = Truncation(limit=max(min(10_000, card.window // 8), 256))
    return CatalogueModel(
        slug=card.name,
        display_name=card.name,
        default_reasoning_level="medium" if card.thinking else None,
        supported_reasoning_levels=efforts,
        priority=place,
        supports_reasoning_summaries=card.thinking,
        truncation_policy=shown,
        context_window=card.window,
        input_modalities=["text", "image"] if card.vision else ["text"],
    )
