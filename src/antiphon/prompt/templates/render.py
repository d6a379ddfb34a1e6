"""From a conversation to the text of a prompt: messages in the template's own terms.

A template that knows nothing of tools gets them through the system prompt, calls and results through the text of the
turns, all in the hermes format, which most models have met. A template without a system role gets the system prompt at
the head of the first user turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from antiphon.api.conversation import (
    Conversation,
    Image,
    Text,
    Thinking,
    ThinkingPolicy,
    Tool,
    ToolResult,
    ToolUse,
    Turn,
)
from antiphon.api.errors import BadRequest
from antiphon.prompt.templates.template import Message, Template

CallId = Callable[[str, int], str]
"""Makes the id a family's template demands from a tool's name and the call's index in the conversation."""

_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")


class Renderer:
    """Renders for one model. `call_id` as the model's format has it; `media_marker` stands where a picture goes (empty:
    the model sees none)."""

    def __init__(self, template: Template, *, call_id: CallId | None = None, media_marker: str = "") -> None:
        self.template = template
        self._call_id = call_id
        self.media_marker = media_marker
        self._reasoning_keys = tuple(key for key in _REASONING_KEYS if key in template.source)
        self.native_tools = template.takes_tools and template.takes_calls and template.takes_results

    def prompt(self, conversation: Conversation, policy: ThinkingPolicy) -> str:
        """The prompt's text, up to where the reply begins. A prefill (a last turn of the assistant) is left out:
        whoever asked for it appends it."""
        turns = conversation.turns[:-1] if conversation.prefill else conversation.turns
        system, first = conversation.system, conversation.first_tools
        if first and not self.native_tools:
            system = (system + "\n\n" if system else "") + _tool_prompt(first)
        messages: list[Message] = []
        if system:
            messages.append({"role": "system", "content": system})
        names = _Names(self._call_id)
        for turn in turns:
            if turn.role == "assistant":
                messages.append(self._assistant(turn, names))
            else:
                messages.extend(self._user(turn, names))
        if self.native_tools and not self.template.takes_parallel_calls:
            messages = _one_call_each(messages)
        tools = [_definition(tool) for tool in first] if self.native_tools else None
        return self.template.render(self._fitted(messages), tools=tools or None, **self.switches(policy))

    def opening(self, policy: ThinkingPolicy) -> str:
        """The text at the end of a prompt that only opens the reply; empty where it cannot be told."""
        messages: list[Message] = [{"role": "user", "content": "probe"}]
        whole = self.template.render(messages, **self.switches(policy))
        try:
            bare = self.template.render(messages, generate=False, **self.switches(policy))
        except BadRequest:
            return ""
        return whole[len(bare) :] if whole.startswith(bare) else ""

    def pictures(self, conversation: Conversation) -> tuple[bytes, ...]:
        """The pictures that the media markers of the prompt stand for, in the prompt's order."""
        if not self.media_marker:
            return ()
        images: list[bytes] = []
        for turn in conversation.turns:
            for part in sorted(turn.parts, key=lambda part: not isinstance(part, ToolResult)):
                inner = part.parts if isinstance(part, ToolResult) else (part,)
                images.extend(each.data for each in inner if isinstance(each, Image))
        return tuple(images)

    def _assistant(self, turn: Turn, names: _Names) -> Message:
        content = "".join(part.text for part in turn.parts if isinstance(part, Text))
        calls = [part for part in turn.parts if isinstance(part, ToolUse)]
        message: Message = {"role": "assistant", "content": content}
        thought = "\n".join(part.text for part in turn.parts if isinstance(part, Thinking) and part.text)
        if thought:
            message.update(dict.fromkeys(self._reasoning_keys, thought))
        native = [names.of_call(call) for call in calls]
        if calls and self.native_tools:
            message["tool_calls"] = [
                {"id": id, "type": "function", "function": {"name": call.name, "arguments": self._arguments(call)}}
                for call, id in zip(calls, native, strict=True)
            ]
        elif calls:
            message["content"] = "\n".join([content] * bool(content) + [_spelled(call) for call in calls])
        return message

    def _arguments(self, call: ToolUse) -> Any:
        return call.input if self.template.takes_arguments_as_text else msgspec.json.decode(call.input)

    def _user(self, turn: Turn, names: _Names) -> list[Message]:
        results = [part for part in turn.parts if isinstance(part, ToolResult)]
        rest = self._content(part for part in turn.parts if not isinstance(part, ToolResult))
        if not self.native_tools:
            spelled = [f"<tool_response>\n{self._answer(result)}\n</tool_response>" for result in results]
            return [{"role": "user", "content": "\n".join([*spelled, rest] if rest or not spelled else spelled)}]
        messages: list[Message] = []
        for result in results:
            id, name = names.of_result(result)
            messages.append({"role": "tool", "tool_call_id": id, "name": name, "content": self._answer(result)})
        return messages if messages and not rest else [*messages, {"role": "user", "content": rest}]

    def _answer(self, result: ToolResult) -> str:
        text = self._content(result.parts)
        return f"Error: {text}" if result.is_error else text

    def _content(self, parts: Any) -> str:
        written: list[str] = []
        for part in parts:
            if isinstance(part, Text):
                written.append(part.text)
            elif isinstance(part, Image) and self.media_marker:
                written.append(f"\n{self.media_marker}\n" if written else f"{self.media_marker}\n")
        return "".join(written)

    def _fitted(self, messages: list[Message]) -> list[Message]:
        """The messages without a system message where the template has no such role."""
        if not messages or messages[0]["role"] != "system" or self.template.takes_system:
            return messages
        system, *rest = messages
        for index, message in enumerate(rest):
            if message["role"] == "user":
                joined = {**message, "content": f"{system['content']}\n\n{message['content']}"}
                return [*rest[:index], joined, *rest[index + 1 :]]
        return [{"role": "user", "content": system["content"]}, *rest]

    def switches(self, policy: ThinkingPolicy) -> dict[str, Any]:
        """The template's own variables for what the client asked of thinking; only those the template mentions."""
        params: dict[str, Any] = {}
        if policy.mode != "default":
            on = policy.mode != "disabled"
            params.update(enable_thinking=on, thinking=on, thinking_budget=-1 if on else 0)
            params["thinking_mode"] = {"adaptive": "adaptive", "disabled": "disabled"}.get(policy.mode, "enabled")
        if policy.mode == "disabled":
            source = self.template.source
            params["reasoning_effort"] = next((word for word in ("none", "no_think") if f"'{word}'" in source), "low")
        elif policy.effort is not None:
            params["reasoning_effort"] = {"xhigh": "high", "max": "high"}.get(policy.effort, policy.effort)
        return {name: value for name, value in params.items() if name in self.template.switches}


class _Names:
    """Ids in the template's terms, for the calls of one conversation. On the wire ids are opaque; some families'
    templates demand a shape of their own."""

    def __init__(self, call_id: CallId | None) -> None:
        self._make = call_id
        self._known: dict[str, tuple[str, str]] = {}

    def of_call(self, call: ToolUse) -> str:
        native = self._make(call.name, len(self._known)) if self._make else call.id
        self._known[call.id] = (native, call.name)
        return native

    def of_result(self, result: ToolResult) -> tuple[str, str]:
        return self._known.get(result.tool_use_id, (result.tool_use_id, "unknown"))


def _one_call_each(messages: list[Message]) -> list[Message]:
    """The messages with parallel calls told one after the other, each followed by its result, for templates that know
    one call a message only."""
    single: list[Message] = []
    waiting: dict[str, Message] = {}
    for message in messages:
        calls = message.get("tool_calls") or []
        if message["role"] == "tool" and message["tool_call_id"] in waiting:
            single += [waiting.pop(message["tool_call_id"]), message]
        elif len(calls) < 2:
            single.append(message)
        else:
            for index, call in enumerate(calls):
                rest = {} if index == 0 else {"content": ""}
                waiting[call["id"]] = {**message, "tool_calls": [call], **rest}
    return single + list(waiting.values())


def _definition(tool: Tool) -> Message:
    function: Message = {"name": tool.name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}


def introduced(tool: Tool) -> str:
    """The text that tells a model, in the midst of a conversation, of a tool it may call from there on."""
    definition = msgspec.json.encode(_definition(tool)).decode()
    return f"From here on you can call this function too:\n<tools>\n{definition}\n</tools>"


def _spelled(call: ToolUse) -> str:
    name = msgspec.json.encode(call.name).decode()
    return f'<tool_call>\n{{"name": {name}, "arguments": {call.input}}}\n</tool_call>'


def _tool_prompt(tools: tuple[Tool, ...]) -> str:
    """The system prompt that tells a model without native tools what there is and how to call it."""
    definitions = "\n".join(msgspec.json.encode(_definition(tool)).decode() for tool in tools)
    return (
        "You can call functions to help with the user's request. These are the functions, one JSON object a line:\n"
        f"<tools>\n{definitions}\n</tools>\n\n"
        "To call one, write a JSON object with its name and arguments inside tool_call tags, like this:\n"
        '<tool_call>\n{"name": "function_name", "arguments": {"argument": "value"}}\n</tool_call>\n'
        "The answer comes back inside tool_response tags. Call functions only when they help."
    )
