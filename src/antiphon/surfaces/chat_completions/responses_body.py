"""Bodies of the Responses API that are sent here: some programs write requests as that API has them, and read replies
as this one does.

What can be told by messages is: messages, reasoning, calls and their outputs. Other items are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from antiphon.api.errors import BadRequest
from antiphon.surfaces.chat_completions import wire
from antiphon.surfaces.chat_completions.wire import Content, Count, Message, Part
from antiphon.surfaces.http.json_body import Name
from antiphon.surfaces.http.validation import complaint

T = TypeVar("T", bound=msgspec.Struct)
Placed = tuple[str, Message]
"""A message, and the dotted path of what it was made of."""


class _Reasoning(msgspec.Struct):
    effort: str | None = None


class _Format(msgspec.Struct):
    type: str
    schema: Raw | UnsetType = UNSET


class _TextConfig(msgspec.Struct):
    format: _Format | None = None


class _Body(msgspec.Struct):
    """The fields that have other names here, or another form."""

    input: str | list[Raw]
    instructions: str | None = None
    max_output_tokens: Count | None = None
    reasoning: _Reasoning | None = None
    text: _TextConfig | None = None
    previous_response_id: str | None = None


class _Typed(msgspec.Struct):
    type: str = "message"


class _Said(msgspec.Struct):
    role: str
    content: Content = None


class _Thought(msgspec.Struct):
    content: list[Part] | None = None
    summary: list[Part] | None = None


class _Called(msgspec.Struct):
    call_id: Name
    name: Name
    arguments: Raw | UnsetType = UNSET
    input: str = ""


class _Answered(msgspec.Struct):
    call_id: Name
    output: Content = None


def read(members: dict[str, Raw], request: wire.Request, unknown: list[str]) -> tuple[wire.Request, list[Placed]]:
    """The request with what its body says in the words of the Responses API, and its messages. `unknown` loses the
    fields that are acted upon. Raises BadRequest."""
    body = _convert(msgspec.json.encode(members), "", _Body)
    if body.previous_response_id:
        raise BadRequest(
            "previous_response_id: only /v1/responses goes on from what is kept; send the items themselves"
        )
    unknown[:] = [name for name in unknown if name not in _Body.__struct_fields__]
    placed = [("instructions", Message(role="system", content=body.instructions))] if body.instructions else []
    if isinstance(body.input, str):
        placed.append(("input", Message(role="user", content=body.input)))
    else:
        placed += _messages(body.input, unknown)
    request = replace(
        request,
        max_completion_tokens=request.max_completion_tokens or body.max_output_tokens,
        reasoning_effort=request.reasoning_effort or (body.reasoning.effort if body.reasoning else None),
        response_format=request.response_format or _response_format(body.text),
    )
    return request, placed


def _messages(items: list[Raw], unknown: list[str]) -> Iterator[Placed]:
    for index, item in enumerate(items):
        where = f"input.{index}"
        kind = _convert(item, where, _Typed).type
        message = _message(kind, item, where)
        if message is not None:
            yield where, message
        elif kind != "reasoning" and (name := f"input.{kind}") not in unknown:
            unknown.append(name)


def _message(kind: str, item: Raw, where: str) -> Message | None:
    match kind:
        case "message":
            said = _convert(item, where, _Said)
            return Message(role=said.role, content=said.content)
        case "reasoning":
            thought = _convert(item, where, _Thought)
            text = "".join(part.text or "" for part in thought.content or thought.summary or ())
            return Message(role="assistant", reasoning_content=text) if text else None
        case "function_call":
            called = _convert(item, where, _Called)
            function = wire.CalledFunction(called.name, called.arguments)
            return Message(role="assistant", tool_calls=[wire.ToolCall(id=called.call_id, function=function)])
        case "custom_tool_call":
            called = _convert(item, where, _Called)
            custom = wire.CalledCustom(called.name, called.input)
            return Message(role="assistant", tool_calls=[wire.ToolCall(id=called.call_id, custom=custom)])
        case "function_call_output" | "custom_tool_call_output":
            answered = _convert(item, where, _Answered)
            return Message(role="tool", tool_call_id=answered.call_id, content=answered.output)
        case _:
            return None


def _convert(raw: Raw | bytes, where: str, type: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), where)) from None


def _response_format(text: _TextConfig | None) -> wire.ResponseFormat | None:
    if text is None or text.format is None:
        return None
    schema = wire.JsonSchema(text.format.schema)
    return wire.ResponseFormat(type=text.format.type, json_schema=schema)
