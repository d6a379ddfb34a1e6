"""What the chat completions API sends when it is not streamed, as typed structs: encoded by `encode.py`, and described
in /openapi.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from antiphon.surfaces.openai.token_logprobs import Logprobs
from antiphon.surfaces.openai.usage import Usage

Reason = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]
# Text that is JSON already.
JsonText = Annotated[Raw, Meta(extra_json_schema={"type": "string"})]


class Function(msgspec.Struct):
    """The function that is called, and its arguments: JSON in a string."""

    name: str
    arguments: JsonText


class Custom(msgspec.Struct):
    """The custom tool that is called, and the text that it is given."""

    name: str
    input: JsonText


class ToolCall(msgspec.Struct, kw_only=True):
    """A call of one of the client's tools, a function or a custom tool."""

    id: str
    type: Literal["function", "custom"] = "function"
    function: Function | UnsetType = UNSET
    custom: Custom | UnsetType = UNSET


class UrlCitation(msgspec.Struct):
    """A page that a stretch of the content is from, in characters (Unicode code points) from `start_index` to before
    `end_index`."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(msgspec.Struct, kw_only=True):
    """What is noted of a stretch of the content."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class Message(msgspec.Struct, kw_only=True):
    """What the model said. `function_call` is the older form of `tool_calls`."""

    role: Literal["assistant"] = "assistant"
    content: Annotated[Raw, Meta(extra_json_schema={"type": ["string", "null"]})] | None
    refusal: str | None = None
    reasoning_content: JsonText | UnsetType = UNSET
    function_call: Function | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET
    annotations: list[Annotation] | UnsetType = UNSET


class Choice(msgspec.Struct, kw_only=True):
    """An answer; the ids of its tokens where they were asked for."""

    index: int = 0
    message: Message
    logprobs: Logprobs | None = None
    finish_reason: Reason
    token_ids: list[int] | UnsetType = UNSET


class Completion(msgspec.Struct, kw_only=True):
    """A whole reply; the ids of its prompt where they were asked for."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: None = None
    choices: list[Choice]
    usage: Usage
    prompt_token_ids: Sequence[int] | UnsetType = UNSET


class Event(msgspec.Struct):
    """An event of a stream, without a name. `data` is a chunk as JSON, an error, or `[DONE]`."""

    data: str
