"""Filling in the middle: the control tokens around what stands before and behind a gap, by the families that have
them."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple


class Infill(NamedTuple):
    """How a family is asked to fill a gap. With `suffix_first`, what stands behind the gap is told first."""

    prefix: str
    suffix: str
    middle: str
    suffix_first: bool = False

    def segments(self, before: str, behind: str) -> list[str]:
        """The prompt, in the pieces that are tokenised apart."""
        if self.suffix_first:
            return [self.suffix, behind, self.prefix, before, self.middle]
        return [self.prefix, before, self.suffix, behind, self.middle]

    @property
    def tokens(self) -> list[str]:
        """Its control tokens."""
        return [token for token in (self.prefix, self.suffix, self.middle) if token]


# From the model cards and tokenizer files of each family.
INFILLS = (
    Infill("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder and later, CodeGemma
    Infill("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    Infill("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    Infill("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder and later
    Infill("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),  # GLM-4.5 and later
    Infill("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
    Infill("[PREFIX]", "[SUFFIX]", "", suffix_first=True),  # Codestral
)


def infill_of(control_tokens: Container[str]) -> Infill | None:
    """How a model with these control tokens is asked; None where it has no tokens for it."""
    return next((each for each in INFILLS if all(token in control_tokens for token in each.tokens)), None)
