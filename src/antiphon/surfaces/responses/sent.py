"""What the Responses API sends, as typed structs: encoded by `encode.py`, and described in /openapi.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
Fields = dict[str, Any]
# An item of a type of its own; its members are those of the official SDK.
Item = Annotated[Fields, Meta(extra_json_schema={"properties": {"type": {"type": "string"}}, "required": ["type"]})]


class InputDetails(msgspec.Struct):
    """Of the prompt's tokens, those that were not computed again, and those computed up to a mark."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct):
    """Of the reply's tokens, those of thinking."""

    reasoning_tokens: int


class Usage(msgspec.Struct):
    """Every figure of the API that is known here."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(msgspec.Struct):
    """Why a response is not whole."""

    reason: Literal["max_output_tokens", "content_filter"]


class Failed(msgspec.Struct):
    """Why there is no response."""

    code: str
    message: str


class Conversation(msgspec.Struct):
    """The conversation that a response belongs to."""

    id: str


class Echo(msgspec.Struct, kw_only=True):
    """What a response repeats of its request. What the client wrote as JSON is its own bytes."""

    model: str
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: str | None = None
    conversation: Conversation | None = None
    prompt_cache_key: str | None
    reasoning: dict[str, str | None]
    safety_identifier: str | None
    service_tier: Literal["default"] = "default"
    store: bool = False
    temperature: float | None
    text: Fields
    tool_choice: Annotated[Raw, Meta(extra_json_schema={"type": ["string", "object"]})]
    tools: Annotated[Raw, Meta(extra_json_schema={"type": "array"})]
    top_logprobs: int = 0
    top_p: float | None
    truncation: Literal["auto", "disabled"]
    user: str | None


class Response(Echo, kw_only=True):
    """A response, whole or as far as it has come."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: Status
    completed_at: int | None = None
    background: bool = False
    error: Failed | None = None
    incomplete_details: Incomplete | None = None
    output: list[Item]
    usage: Usage | None = None
    prompt_token_ids: Sequence[int] | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET
    token_logprobs: list[float | None] | UnsetType = UNSET


class Event(msgspec.Struct):
    """An event of a stream. `data` is JSON; its `type` is the event's name."""

    event: str
    data: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/json"})]


class Counted(msgspec.Struct, kw_only=True):
    """The tokens of a prompt."""

    object: Literal["response.input_tokens"] = "response.input_tokens"
    input_tokens: int
