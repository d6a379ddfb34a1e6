"""Prompts that a client made itself, as ids."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.conversation import Conversation
from antiphon.prompt.prefix.hashes import Beginning
from antiphon.prompt.prompter import Prompt

TAIL = 64
"""So many of the last ids tell whether the reply to a prompt begins inside thinking."""


def prompt_of_ids(ids: Sequence[int], *, starts_thinking: bool) -> Prompt:
    """The prompt of these ids. Nothing is known of what it is made of, so it is not remembered."""
    return Prompt(
        text="",
        starts_thinking=starts_thinking,
        guarded=Conversation(),
        rendered="",
        continued="",
        cut="",
        beginning=Beginning(b"", b"", b""),
        turns=(),
        chain=[b""],
        pictures=(),
        large=False,
        unthought=0,
        ids=list(ids),
        remembered=0,
        reused=0,
        thoughts=(),
        picture_tokens=0,
    )
