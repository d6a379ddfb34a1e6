"""A conversation as the messages and tools of a chat completions request, for servers that make the prompt."""

from __future__ import annotations

import base64
from typing import Any

from antiphon.api.conversation import (
    Conversation,
    GenerationParams,
    Image,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
)

Message = dict[str, Any]

_EFFORTS = {"xhigh": "high", "max": "high"}


def messages(conversation: Conversation) -> list[Message]:
    """The messages of a conversation whose turns are in order."""
    messages: list[Message] = [{"role": "system", "content": conversation.system}] if conversation.system else []
    for turn in conversation.turns:
        messages += [_assistant(turn)] if turn.role == "assistant" else _user(turn)
    return messages


def request(
    conversation: Conversation, tools: tuple[Tool, ...], params: GenerationParams, *, strict: bool = False
) -> dict[str, Any]:
    """What is asked for: everything of a request but the model and the limit. Stop sequences stay here, because servers
    do not tell which of them it was. With `strict` every tool is called so, whatever the client says of it."""
    body: dict[str, Any] = {"messages": messages(conversation)}
    if tools:
        body["tools"] = [_tool(tool, strict=strict or bool(tool.strict)) for tool in tools]
        body["tool_choice"] = _choice(params)
        if not params.tool_choice.parallel:
            body["parallel_tool_calls"] = False
    if params.output_schema is not None:
        schema = {"name": "output", "schema": params.output_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    for name in params.sampling.__struct_fields__:
        value = getattr(params.sampling, name)
        if value is not None:
            body[name] = value
    thinking = params.thinking
    if thinking.mode != "default":
        on = thinking.mode != "disabled"
        body["chat_template_kwargs"] = {"enable_thinking": on, "thinking": on}
    if thinking.effort is not None and thinking.mode != "disabled":
        body["reasoning_effort"] = _EFFORTS.get(thinking.effort, thinking.effort)
    return body


def _choice(params: GenerationParams) -> Any:
    choice = params.tool_choice
    if choice.mode == "tool":
        return {"type": "function", "function": {"name": choice.name}}
    return {"any": "required", "none": "none"}.get(choice.mode, "auto")


def _tool(tool: Tool, *, strict: bool) -> Message:
    function: Message = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": {**function, "strict": True} if strict else function}


def _assistant(turn: Turn) -> Message:
    message: Message = {"role": "assistant", "content": "".join(p.text for p in turn.parts if isinstance(p, Text))}
    thought = "\n".join(part.text for part in turn.parts if isinstance(part, Thinking) and part.text)
    if thought:
        message["reasoning_content"] = thought
    calls = [part for part in turn.parts if isinstance(part, ToolUse)]
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input}}
            for call in calls
        ]
    return message


def _user(turn: Turn) -> list[Message]:
    messages: list[Message] = []
    behind: list[Text | Image] = []
    for part in turn.parts:
        if isinstance(part, ToolResult):
            text = "".join(inner.text for inner in part.parts if isinstance(inner, Text))
            content = f"Error: {text}" if part.is_error else text
            messages.append({"role": "tool", "tool_call_id": part.tool_use_id, "content": content})
            # Results are text only; their pictures follow all of them.
            behind += [inner for inner in part.parts if isinstance(inner, Image)]
        elif isinstance(part, Text | Image):
            behind.append(part)
    if behind or not messages:
        messages.append({"role": "user", "content": _content(behind)})
    return messages


def _content(parts: list[Text | Image]) -> str | list[Message]:
    if all(isinstance(part, Text) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, Text))
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, Text)
        else {"type": "image_url", "image_url": {"url": _url(part)}}
        for part in parts
    ]


def _url(image: Image) -> str:
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
