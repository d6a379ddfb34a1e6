"""The figures of a completion, chat or not, as OpenAI's older APIs report them."""

from __future__ import annotations

import msgspec

from antiphon.api import events


class PromptDetails(msgspec.Struct):
    """Of the prompt's tokens, those that were not computed again."""

    cached_tokens: int


class CompletionDetails(msgspec.Struct):
    """Of the reply's tokens, those of thinking."""

    reasoning_tokens: int


class Usage(msgspec.Struct):
    """Every figure of the API that is known here."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


def usage_sent(usage: events.Usage) -> Usage:
    """The figures of a reply, or their sums."""
    return Usage(
        prompt_tokens=usage.prompt,
        completion_tokens=usage.output,
        total_tokens=usage.prompt + usage.output,
        prompt_tokens_details=PromptDetails(usage.cached),
        completion_tokens_details=CompletionDetails(usage.thinking),
    )
