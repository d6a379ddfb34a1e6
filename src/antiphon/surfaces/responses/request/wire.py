"""The request of the Responses API as typed structs, decoded once by module-level decoders.

Tolerant in: unknown fields are accepted everywhere, and named to the client. Items and tools are read later, one by
one.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from antiphon.api.errors import BadRequest
from antiphon.api.tokens import MOST_ALTERNATIVES
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.json_body import Name, TokenId
from antiphon.surfaces.http.validation import malformed

Count = Annotated[int, Meta(ge=1, le=2**53)]
Ignored = Raw | UnsetType


class TextFormat(msgspec.Struct):
    """`text.format`."""

    type: str
    schema: Raw | UnsetType = UNSET


class TextConfig(msgspec.Struct):
    """`text`."""

    format: TextFormat | None = None
    verbosity: str | None = None


class ReasoningConfig(msgspec.Struct):
    """`reasoning`. `generate_summary` is the older name of `summary`."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ToolChoice(msgspec.Struct):
    """`tool_choice` where it is not a word."""

    type: str
    name: str | None = None
    mode: str | None = None
    server_label: str | None = None
    tools: list[dict[str, Any]] | None = None


class ConversationReference(msgspec.Struct):
    """`conversation` where it is not an id."""

    id: Name


class ContextManagement(msgspec.Struct):
    """A member of `context_management`."""

    type: str
    compact_threshold: Count | None = None


class Request(msgspec.Struct):
    """The body of a request: the fields that are acted upon. It has the prompt as `input`, or as `input_ids`."""

    model: Name
    input_ids: Annotated[list[TokenId], Meta(min_length=1)] | None = None
    input: str | list[Annotated[Raw, Meta(extra_json_schema={"$ref": "Item"})]] | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Count | None = None
    max_tool_calls: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    tools: list[Annotated[Raw, Meta(extra_json_schema={"$ref": "Tool"})]] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: ReasoningConfig | None = None
    text: TextConfig | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None = None
    return_token_ids: bool | None = None
    truncation: str | None = None
    context_management: list[ContextManagement] | None = None
    prompt_cache_key: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    background: bool | None = None
    conversation: str | ConversationReference | None = None
    prompt: Ignored = UNSET
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    user: str | None = None


_request = msgspec.json.Decoder(Request)
_anything = msgspec.json.Decoder()
_FIELDS = {field.encode_name for field in msgspec.structs.fields(Request)}
# They change nothing by design: who asks, where it is billed and kept.
_HARMLESS = {"service_tier", "client_metadata", "stream_options", "prompt_cache_retention", "moderation"}
_SAYS_NOTHING = (b"null", b"false", b"[]", b"{}", b"0")


def read(body: bytes) -> tuple[Request, dict[str, Raw], list[str]]:
    """The request in a body, its members as the client wrote them, and those that nobody here acts upon. Raises
    BadRequest that says what is wrong, and where."""
    request, members = json_body.read(body, _request)
    unknown = members.keys() - _FIELDS - _HARMLESS
    return request, members, sorted(name for name in unknown if bytes(members[name]) not in _SAYS_NOTHING)


def value(raw: Raw | bytes, where: str) -> Any:
    """Any JSON value."""
    try:
        return _anything.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None
