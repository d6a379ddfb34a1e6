"""From a prompt's text to its ids, and whether they fit the window."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from antiphon.api.conversation import Conversation, ThinkingPolicy, ToolResult
from antiphon.api.errors import PromptTooLong
from antiphon.prompt.fence import segments

Tokenise = Callable[[Sequence[str]], Awaitable[list[int]]]
"""The ids of pieces of text, each tokenised on its own and joined."""
PictureTokens = Callable[[Sequence[bytes]], Awaitable[int]]
"""How many tokens pictures take, as far as that can be told."""


async def encode(tokenise: Tokenise, prompt: str, cut: str, start: Sequence[int] = ()) -> list[int]:
    """The ids of a rendered prompt. `cut` marks where the fence wants it cut; `start` are the ids the vocabulary
    demands at the beginning, put there unless the template wrote them."""
    ids = await tokenise(segments(prompt, cut))
    return ids if ids[: len(start)] == list(start) else [*start, *ids]


def room(prompt: int, params: int | None, window: int) -> tuple[int, bool]:
    """How many tokens the reply to a prompt of this many tokens may have, and whether it is the window that says so.
    Raises PromptTooLong when there is room for none."""
    left = window - prompt
    if left < 1:
        raise PromptTooLong(prompt, window)
    return (left, True) if params is None or params > left else (params, False)


_EFFORT = {"low": 1024, "medium": 4096, "high": 16384, "xhigh": 32768}
"""Tokens of thinking that an effort allows; the highest allows what the reply has room for."""


def thinking_room(policy: ThinkingPolicy, conversation: Conversation, limit: int) -> int:
    """How many tokens of a reply of at most `limit` tokens may be thinking. A quarter is always kept for the answer."""
    most = limit - max(limit // 4, 1)
    if policy.mode == "disabled" or (policy.mode == "between_tools" and not _after_result(conversation)):
        return 0
    if policy.budget is not None:
        most = min(most, policy.budget)
    if policy.effort is not None:
        most = min(most, _EFFORT.get(policy.effort, most))
    return most


def _after_result(conversation: Conversation) -> bool:
    return bool(conversation.turns) and any(isinstance(part, ToolResult) for part in conversation.turns[-1].parts)
