"""The request of the chat completions API as typed structs, decoded once by module-level decoders.

Tolerant in: unknown fields are accepted everywhere, and named to the client. What it wrote as JSON (schemas, the
arguments of calls) stays its own bytes.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from antiphon.api.tokens import MOST_ALTERNATIVES
from antiphon.surfaces.http import json_body
from antiphon.surfaces.http.json_body import Name, TokenId
from antiphon.surfaces.openai.free_text import Format

Count = Annotated[int, Meta(ge=1, le=2**53)]
ROLES = ["system", "developer", "user", "assistant", "tool", "function"]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class ImageUrl(msgspec.Struct):
    """Where a picture is: `data:` or http."""

    url: str


class File(msgspec.Struct):
    """A document in the request, as a `data:` URL or plain base64."""

    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class Part(File, kw_only=True):
    """One part of a content that is a list; which of the fields counts is said by `type`. Parts as the Responses API
    has them are taken too."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    file: File | None = None


Content = str | list[Part] | None


class CalledFunction(msgspec.Struct):
    """A call's name and arguments: JSON in a string; some programs send the object itself."""

    name: Name
    arguments: Raw | UnsetType = UNSET


class CalledCustom(msgspec.Struct):
    """A call of a custom tool: its name and the text that it was given."""

    name: Name
    input: str = ""


class ToolCall(msgspec.Struct, kw_only=True):
    """A call of an earlier turn, sent back: of a function or of a custom tool."""

    id: Name
    function: CalledFunction | None = None
    custom: CalledCustom | None = None


class Message(msgspec.Struct):
    """One message of any role."""

    role: Annotated[str, Meta(extra_json_schema={"enum": ROLES})]
    content: Content = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class Function(msgspec.Struct):
    """A function the model may call."""

    name: Name
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None


class Custom(msgspec.Struct):
    """A tool that takes free text."""

    name: Name
    description: str | None = None
    format: Format | None = None


class Tool(msgspec.Struct, kw_only=True):
    """A member of `tools`: a function or a custom tool. Some programs write them as the Responses API does, with all
    fields beside `type`."""

    type: str
    function: Function | None = None
    custom: Custom | None = None
    name: Name | None = None
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None
    format: Format | None = None


class Named(msgspec.Struct):
    """A tool by its name."""

    name: Name


class Chosen(msgspec.Struct, kw_only=True):
    """A tool by its name, which stands in a member of its own, or as the Responses API has it, beside its type."""

    function: Named | None = None
    custom: Named | None = None
    name: Name | None = None


class AllowedTools(msgspec.Struct):
    """The part of the tools that may be used this time."""

    mode: str
    tools: list[Chosen]


class ToolChoice(Chosen, kw_only=True):
    """`tool_choice` where it is not a word. As the Responses API has it, the part of the tools stands beside its
    type."""

    type: str
    allowed_tools: AllowedTools | None = None
    mode: str | None = None
    tools: list[Chosen] | None = None


class JsonSchema(msgspec.Struct):
    """`response_format.json_schema`."""

    schema: Raw | UnsetType = UNSET


class ResponseFormat(msgspec.Struct):
    """`response_format`. Some programs give `json_object` a `schema` of its own, as llama.cpp's server takes it."""

    type: str
    json_schema: JsonSchema | None = None
    schema: Raw | UnsetType = UNSET


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class UserLocation(msgspec.Struct):
    """`web_search_options.user_location`: where the user is, about."""

    approximate: dict[str, Any] | None = None


class WebSearchOptions(msgspec.Struct):
    """`web_search_options`. How much of the pages the model reads is the server's matter."""

    user_location: UserLocation | None = None


class Request(msgspec.Struct):
    """The body of a request: the fields that are acted upon. It has `messages`, or the prompt as `input_ids`."""

    model: Name
    messages: list[Message] = []
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**53)] | None = None
    seed: int | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None = None
    return_token_ids: bool | None = None
    input_ids: Annotated[list[TokenId], Meta(min_length=1)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | Named | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    web_search_options: WebSearchOptions | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None


_request = msgspec.json.Decoder(Request)
_FIELDS = {field.encode_name for field in msgspec.structs.fields(Request)}
# They change nothing by design: who asks, where it is billed and kept.
_HARMLESS = {"user", "store", "service_tier", "safety_identifier"}
_SAYS_NOTHING = (b"null", b"false", b"[]", b"{}")


def read(body: bytes) -> tuple[Request, dict[str, Raw], list[str]]:
    """The request in a body, its members as they were written, and the names of those that nobody here acts upon.
    Raises BadRequest that says what is wrong, and where."""
    request, members = json_body.read(body, _request)
    unknown = members.keys() - _FIELDS - _HARMLESS
    return request, members, sorted(name for name in unknown if bytes(members[name]) not in _SAYS_NOTHING)
