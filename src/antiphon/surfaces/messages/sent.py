"""What the Messages API sends, as typed structs: encoded by `encode.py`, and described in /openapi.json.

Frames of a stream are made by hand where they are many; whole replies and the rest are these. What is always there is
`null` when there is nothing to say, as clients read it without asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from antiphon.api.events import StopReason
from antiphon.surfaces.messages.citations import Location
from antiphon.surfaces.messages.context_management import Applied

# Text that is JSON already.
JsonText = Annotated[Raw, Meta(extra_json_schema={"type": "string"})]
JsonObject = Annotated[Raw, Meta(extra_json_schema={"type": "object"})]


class Caller(msgspec.Struct, frozen=True):
    """Who made a call: the model itself."""

    type: Literal["direct"] = "direct"


class Text(msgspec.Struct, tag="text"):
    """A block of text, and what it cites, if anything."""

    text: JsonText
    citations: list[Location] | UnsetType = UNSET


class Thinking(msgspec.Struct, tag="thinking"):
    """A block of thinking, and the seal that lets it be sent back."""

    thinking: JsonText
    signature: str


class ToolUse(msgspec.Struct, tag="tool_use"):
    """A call of one of the client's tools."""

    id: str
    name: str
    input: JsonObject
    caller: Caller = Caller()
    toolset_name: str | UnsetType = UNSET


Block = Text | Thinking | ToolUse
# The call of a tool that runs here, and what came of it: the tool's own to describe.
_SERVER_TOOL = {
    "description": "The call of a server tool, or its result.",
    "type": "object",
    "properties": {"type": {"type": "string", "pattern": "^(server_tool_use|mcp_tool_use|.*_tool_result)$"}},
    "required": ["type"],
}
AnyBlock = Annotated[Any, Meta(extra_json_schema={"anyOf": [{"$ref": "SentBlock"}, _SERVER_TOOL]})]


class CacheCreation(msgspec.Struct):
    """Tokens put into the cache before the last mark, by how long the mark asks for."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int


class OutputDetails(msgspec.Struct):
    """Of the output tokens, those of thinking."""

    thinking_tokens: int


class Iteration(msgspec.Struct, tag="message"):
    """The figures of one round of a reply with server tools."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    cache_creation: CacheCreation
    output_tokens: int


class CompactionIteration(Iteration, tag="compaction"):
    """The figures of the summary that a reply begins with; they are not in those of the reply."""


class Usage(msgspec.Struct):
    """Every figure the API reports. The three kinds of input tokens add up to the whole prompt; of a reply in several
    rounds, to the prompts of all of them, which `iterations` tells one by one."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    cache_creation: CacheCreation
    output_tokens: int
    output_tokens_details: OutputDetails
    server_tool_use: dict[str, int] | None = None
    service_tier: str = "standard"
    inference_geo: str = "not_available"
    speed: str = "standard"
    iterations: list[Iteration | CompactionIteration] | UnsetType = UNSET


class Diagnostics(msgspec.Struct):
    """The answer to `diagnostics`: why the prompt missed the cache, or null."""

    cache_miss_reason: dict[str, Any] | None


class StopDetails(msgspec.Struct, kw_only=True):
    """What is known of a refusal; null for every other reason."""

    type: Literal["refusal"] = "refusal"
    category: None = None
    explanation: str | None


class Container(msgspec.Struct, kw_only=True):
    """Where code ran, for the next request to name. `expires_at` is a time of RFC 3339."""

    id: str
    expires_at: str
    skills: None = None


Scored = tuple[float | None, int]
"""The natural logarithm of a token's probability (null: not known), and its id."""


class Message(msgspec.Struct, kw_only=True):
    """A whole reply, with every key of it, used or not, but for those of tokens, which are there where they were asked
    for. In a stream, these stand beside the `delta` of the text that they were sampled for."""

    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[AnyBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: StopDetails | None = None
    container: Container | None = None
    diagnostics: Diagnostics | None
    usage: Usage
    prompt_token_ids: Sequence[int] | UnsetType = UNSET
    output_ids: list[int] | UnsetType = UNSET
    output_token_logprobs: list[Scored] | UnsetType = UNSET
    output_top_logprobs: list[list[Scored]] | UnsetType = UNSET
    context_management: Applied | UnsetType = UNSET


class Event(msgspec.Struct):
    """An event of a stream. `data` is JSON; its `type` is the event's name."""

    event: Literal[
        "ping",
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    ]
    data: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/json"})]


class CountedContext(msgspec.Struct):
    """The answer to `context_management` in a count: the tokens that there would be without edits."""

    original_input_tokens: int


class Counted(msgspec.Struct):
    """The tokens of a prompt."""

    input_tokens: int
    context_management: CountedContext | UnsetType = UNSET
