"""Bodies of the Responses API that are sent to chat completions, as some programs do, mean what they mean there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antiphon.api.conversation import Image, Text, Thinking, ToolResult, ToolUse
from antiphon.api.errors import BadRequest
from antiphon.prompt.turns import repaired
from antiphon.surfaces.chat_completions import decode
from tests.surfaces.chat_completions.test_custom_tools import FLAT, LOOK
from tests.surfaces.messages.sdk_corpus import PNG
from tests.surfaces.scripted_service import SEEING

ITEMS = [
    {"role": "system", "content": "Be brief."},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Edit it."}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}], "content": None},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
    },
    {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"a":  1}'},
    {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "a\n"},
    {"type": "function_call_output", "call_id": "call_1", "output": "seen"},
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "done"}]},
]


def read(**fields: Any) -> decode.DecodedRequest:
    return decode.decode(decode.read(json.dumps({"model": "m", **fields}).encode()), SEEING, {})


def test_the_conversation_is_the_same() -> None:
    """Messages, reasoning, calls of both kinds and their outputs; a turn may come as several items."""
    found = repaired(read(input=ITEMS, tools=[LOOK, FLAT]).conversation)
    assert found.system == "Be brief."
    user, assistant, answers = found.turns
    assert user.parts == (Text("Edit it."),)
    assert assistant.parts == (
        Thinking("Hm."),
        Text("I look."),
        ToolUse(id="call_1", name="look", input='{"a":  1}'),
        ToolUse(id="call_2", name="patch", input='{"input":"a\\n"}'),
    )
    assert answers.parts == (
        ToolResult(tool_use_id="call_1", parts=(Text("seen"),)),
        ToolResult(tool_use_id="call_2", parts=(Text("done"),)),
    )


def test_a_text_and_instructions() -> None:
    """The shortest form."""
    found = repaired(read(input="Hi", instructions="Be brief.").conversation)
    assert (found.system, found.turns[0].parts) == ("Be brief.", (Text("Hi"),))


def test_pictures_are_seen() -> None:
    """Their address stands beside their type there."""
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    found = read(input=[{"role": "user", "content": [picture]}])
    assert isinstance(found.conversation.turns[0].parts[0], Image)


def test_settings_keep_their_meaning() -> None:
    """Effort, length and the form of the answer; the rest is named where it is not acted upon."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = read(
        input=[*ITEMS, {"type": "image_generation_call", "id": "x"}],
        tools=[LOOK, FLAT],
        max_output_tokens=7,
        reasoning={"effort": "high", "summary": "auto"},
        text={"format": {"type": "json_schema", "name": "x", "schema": schema}, "verbosity": "low"},
        include=["reasoning.encrypted_content"],
        store=False,
        previous_response_id=None,
    )
    assert asked.generation.max_tokens == 7
    assert asked.generation.thinking.effort == "high"
    assert asked.generation.output_schema == schema
    assert asked.ignored == ("include", "input.image_generation_call")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "messages: Field required"),
        ({"input": []}, "messages: at least one message"),
        ({"input": 1}, "input: "),
        ({"input": [1]}, "input.0: "),
        ({"input": [{"role": "user", "content": 1}]}, "input.0.content: "),
        ({"input": [{"type": "function_call", "name": "look"}]}, "input.0.call_id: Field required"),
        ({"input": [ITEMS[1], ITEMS[4]]}, "input.1: An assistant message with 'tool_calls' must be followed"),
        ({"input": [ITEMS[6]]}, "input.0.tool_call_id: "),
        ({"input": "Hi", "previous_response_id": "resp_1"}, "previous_response_id: only /v1/responses"),
    ],
)
def test_a_refusal_says_where_and_what(fields: dict[str, Any], words: str) -> None:
    """The path is that of the client's own body."""
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    assert words in caught.value.message


def test_messages_come_first() -> None:
    """A body with both is one of this API."""
    asked = read(messages=[{"role": "user", "content": "Hi"}], input="Ho")
    assert asked.conversation.turns[0].parts == (Text("Hi"),)
    assert asked.ignored == ("input",)
