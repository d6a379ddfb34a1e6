"""What the completions API sends, as typed structs: encoded by `encode.py`, and described in /openapi.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from antiphon.surfaces.openai.usage import Usage


class Logprobs(msgspec.Struct):
    """The tokens of a text, or of a piece of it: their texts, the natural logarithms of their probabilities (null: not
    known), the likeliest of each place, and the characters before each."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class Choice(msgspec.Struct, kw_only=True):
    """A text, or a piece of one. `token_ids` and, once, `prompt_token_ids` are there where they were asked for."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length", "content_filter"] | None
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: Sequence[int] | UnsetType = UNSET


class Completion(msgspec.Struct, kw_only=True):
    """All texts, or a chunk of a stream with a piece of one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: None = None
    choices: list[Choice]
    usage: Usage | None = None


class Event(msgspec.Struct):
    """An event of a stream, without a name. `data` is a chunk as JSON, an error, or `[DONE]`."""

    data: str
