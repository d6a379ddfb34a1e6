"""The request of the Messages API as typed structs, decoded once by module-level decoders.

Tolerant in: unknown fields are accepted everywhere, and a block of an unknown type is kept as it came. What a
client wrote as JSON (tool input, schemas) stays its own bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from antiphon.api.conversation import Role
from antiphon.api.errors import BadRequest
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.json_body import Name, TokenId
from antiphon.surfaces.http.labels import LABEL
from antiphon.surfaces.http.validation import complaint, malformed
from antiphon.surfaces.messages.context_management import Compaction, ContextManagement

# A block and a tool are read later, one by one; the names are those of `arrivals.TYPES`.
Block = Annotated[Raw, Meta(extra_json_schema={"$ref": "Block"})]
Content = str | list[Block]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Ignored = Raw | UnsetType
ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class SystemOutputConfig(msgspec.Struct):
    """`output_config` of a system message: how much effort the model makes from there on."""

    effort: str | None = None


class Message(msgspec.Struct):
    """One message. Only a system message that merely sets `output_config` has no content. With `clear_at`, the text of
    a system message is shown for the user turn that it follows, or always."""

    role: Annotated[str, Meta(extra_json_schema={"enum": list(ROLES)})]
    content: Content | UnsetType = UNSET
    output_config: SystemOutputConfig | UnsetType | None = UNSET
    clear_at: Literal["next_user_message", "never"] | None = None


class ToolChoice(msgspec.Struct):
    """`tool_choice`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct):
    """`thinking`."""

    type: str
    budget_tokens: Count | None = None
    display: str | None = None


class Format(msgspec.Struct):
    """`output_config.format`."""

    type: str
    schema: Raw | UnsetType = UNSET


class OutputConfig(msgspec.Struct):
    """`output_config`."""

    effort: str | None = None
    format: Format | None = None
    task_budget: Ignored = UNSET


class Metadata(msgspec.Struct):
    """`metadata`."""

    user_id: str | None = None
    label: str | None = msgspec.field(default=None, name=LABEL)


class Diagnostics(msgspec.Struct):
    """`diagnostics`."""

    previous_message_id: str | None = None


class Container(msgspec.Struct):
    """`container`: where code ran before."""

    id: str | None = None
    skills: Ignored = UNSET


class Request(msgspec.Struct):
    """The body of a request, for a reply or for a count, with `messages` or the prompt as `input_ids`. Fields of type
    `Ignored` are accepted and not acted upon."""

    model: Name
    messages: list[Message] = []
    max_tokens: Count | None = None
    system: Content | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Count | None = None
    tools: list[Annotated[Raw, Meta(extra_json_schema={"$ref": "Tool"})]] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    metadata: Metadata | None = None
    cache_control: Raw | UnsetType = UNSET
    diagnostics: Diagnostics | None = None
    mcp_servers: list[Any] | None = None
    container: str | Container | None = None
    context_management: ContextManagement | UnsetType | None = UNSET
    compaction: Compaction | None = None
    thread: Ignored = UNSET
    input_ids: Annotated[list[TokenId], Meta(min_length=1)] | None = None
    return_token_ids: bool | None = None
    return_logprob: bool | None = None
    top_logprobs: Count | None = None


class Source(msgspec.Struct):
    """Where an image or a document is: in the block, at an address, or in a file kept by a server."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: Content | None = None


class Text(msgspec.Struct, tag="text"):
    """A block of text; one of an earlier turn may come with what it cites."""

    text: str
    citations: list[Any] | None = None


class Image(msgspec.Struct, tag="image"):
    """A block with a picture."""

    source: Source


class Citations(msgspec.Struct):
    """`citations` of something that may be cited."""

    enabled: bool | None = None


class Document(msgspec.Struct, tag="document"):
    """A block with a document."""

    source: Source
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None


class SearchResult(msgspec.Struct, tag="search_result"):
    """A block with something the client found."""

    source: str
    title: str
    content: list[Block]
    citations: Citations | None = None


class ThinkingBlock(msgspec.Struct, tag="thinking"):
    """Thinking of an earlier turn, sent back."""

    thinking: str | None = None
    signature: str | None = None


class ToolUse(msgspec.Struct, tag="tool_use"):
    """A call of an earlier turn, sent back."""

    id: Name
    name: Name
    input: Raw
    toolset_name: str | None = None


class ToolResult(msgspec.Struct, tag="tool_result"):
    """What the client's tool answered."""

    tool_use_id: Name
    content: Content | None = None
    is_error: bool | None = None


class Other(msgspec.Struct):
    """A block of any other type: its name and all its fields."""

    type: str
    fields: dict[str, Any]


Known = Text | Image | Document | SearchResult | ThinkingBlock | ToolUse | ToolResult
AnyBlock = Known | Other
TAGS = {"text", "image", "document", "search_result", "thinking", "tool_use", "tool_result"}
OTHER_BLOCK = {
    "description": "A block of any other type; what the model cannot use of it is told in words.",
    "type": "object",
    "properties": {"type": {"type": "string", "not": {"enum": sorted(TAGS)}}},
    "required": ["type"],
}
"""`Other` for people, as a JSON Schema."""

_request = msgspec.json.Decoder(Request)
_block = msgspec.json.Decoder(Known)
_anything = msgspec.json.Decoder()
_FIELDS = {field.encode_name for field in msgspec.structs.fields(Request)}


def read(body: bytes) -> tuple[Request, list[str]]:
    """The request in a body, and its fields that nobody here knows. Raises BadRequest that says what is wrong, and
    where."""
    request, members = json_body.read(body, _request)
    if "messages" not in members and request.input_ids is None:
        raise BadRequest("messages: Field required")
    return request, sorted(members.keys() - _FIELDS)


def block(raw: Raw, where: str) -> AnyBlock:
    """A content block; `where` is its dotted path, for what is wrong with it."""
    try:
        decoded: Known = _block.decode(raw)
        return decoded
    except msgspec.ValidationError as trouble:
        return _other(raw, where, str(trouble))
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None


def listed(content: Content | UnsetType | None, where: str) -> Iterator[tuple[str, AnyBlock]]:
    """The blocks of a content that is a list, each with its path."""
    if isinstance(content, list):
        for index, raw in enumerate(content):
            yield f"{where}.{index}", block(raw, f"{where}.{index}")


def value(raw: Raw | bytes, where: str) -> Any:
    """Any JSON value."""
    try:
        return _anything.decode(raw)
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None


def _other(raw: Raw, where: str, trouble: str) -> Other:
    fields = value(raw, where)
    if not isinstance(fields, dict):
        raise BadRequest(f"{where}: Input should be a valid dictionary")
    tag = fields.get("type")
    if not isinstance(tag, str):
        raise BadRequest(
            f"{where}.type: " + ("Input should be a valid string" if "type" in fields else "Field required")
        )
    if tag in TAGS:
        # The API names the member of the union as part of the path.
        raise BadRequest(complaint(trouble, f"{where}.{tag}"))
    return Other(tag, fields)
