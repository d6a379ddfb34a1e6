"""A program written for the official Python SDK, of any generation. Run as
`messages_client.py URL MODEL real|scripted`; it exits with 0 when everything is as it is with the original."""

from __future__ import annotations

import sys
from typing import Any

import anthropic

URL, MODEL, KIND = sys.argv[1:4]
# The likeliest reply is no empty one; not every generation of the SDK has the field.
STEADY: Any = {"temperature": 0}
client = anthropic.Anthropic(base_url=URL, api_key="any", max_retries=0)

WEATHER: Any = {
    "name": "get_weather",
    "description": "Get the weather",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 40},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["city", "days"],
    },
}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def check_message(message: Any) -> None:
    assert message.id.startswith("msg_"), message
    assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
    assert message.content, message
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert message.usage.cache_read_input_tokens is not None
    assert message._request_id.startswith("req_")


def total(usage: Any) -> int:
    return int(usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens)


def plain() -> None:
    message = client.messages.create(
        model=MODEL, max_tokens=24, messages=user("Hello from a client"), system="Be brief.", extra_body=STEADY
    )
    check_message(message)
    assert message.content[-1].type == "text"
    assert message.stop_reason in ("end_turn", "max_tokens")
    counted = client.messages.count_tokens(model=MODEL, messages=user("Hello from a client"), system="Be brief.")
    assert counted.input_tokens == total(message.usage)


def streamed() -> None:
    asked: Any = {"model": MODEL, "max_tokens": 24, "messages": user("Hello from a client"), "extra_body": STEADY}
    with client.messages.stream(**asked) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert final.content[-1].type == "text"
    assert final.stop_reason in ("end_turn", "max_tokens")
    assert final.usage.output_tokens > 0


def forced(stream: bool) -> None:
    asked: Any = {
        "model": MODEL,
        "max_tokens": 300,
        "messages": user("Weather in Paris?"),
        "tools": [WEATHER],
        "tool_choice": {"type": "tool", "name": "get_weather"},
        "extra_body": STEADY,
    }
    if stream:
        with client.messages.stream(**asked) as running:
            message = running.get_final_message()
    else:
        message = client.messages.create(**asked)
    (call,) = message.content
    assert call.type == "tool_use"
    assert call.name == "get_weather"
    assert call.id.startswith("toolu_")
    assert isinstance(call.input["city"], str)
    assert 1 <= call.input["days"] <= 9
    assert message.stop_reason == "tool_use"


def stop_sequence() -> None:
    message = client.messages.create(
        model=MODEL, max_tokens=200, messages=user("Count: one, two, three, four"), stop_sequences=["e"]
    )
    # Whether the model comes to an "e" at all is its own affair; it never gets out.
    assert (message.stop_reason == "stop_sequence") == (message.stop_sequence == "e")
    assert not any("e" in block.text for block in message.content if block.type == "text")


def parallel_tools() -> None:
    with client.messages.stream(
        model=MODEL, max_tokens=300, messages=user("Two tools"), tools=[WEATHER], tool_choice={"type": "auto"}
    ) as stream:
        message = stream.get_final_message()
    assert [block.input["city"] for block in message.content] == ["Zürich", "東京"]
    assert len({block.id for block in message.content}) == 2
    assert message.stop_reason == "tool_use"


def thinking_and_tool_loop() -> None:
    tools: Any = [{"name": "Read", "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}}}]
    asked: Any = {
        "model": MODEL,
        "max_tokens": 2000,
        "tools": tools,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    history = user("Read note")
    with client.messages.stream(messages=history, **asked) as stream:
        first = stream.get_final_message()
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use"]
    assert first.content[0].signature
    history += [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": first.content[2].id, "content": "hello"}]},
    ]
    second = client.messages.create(messages=history, **asked)
    assert [block.type for block in second.content] == ["thinking", "text"]
    assert second.content[1].text == "The file says hello."
    assert second.stop_reason == "end_turn"


def failures() -> None:
    for text, kind in (("Fail before", anthropic.InternalServerError), ("Fail after", anthropic.APIStatusError)):
        try:
            with client.messages.stream(model=MODEL, max_tokens=100, messages=user(text)) as stream:
                stream.get_final_message()
        except kind as error:
            assert "script says to fail" in str(error), error
        else:
            raise AssertionError(f"{text}: no error")


def errors() -> None:
    try:
        client.messages.create(model="no-such-model", max_tokens=1, messages=user("x"))
    except anthropic.NotFoundError as error:
        assert "no-such-model" in str(error)
        assert str(error.request_id).startswith("req_")
    else:
        raise AssertionError("an unknown model was served")
    try:
        client.messages.create(model=MODEL, max_tokens=1, messages=[])
    except anthropic.BadRequestError as error:
        assert "messages" in str(error)
    else:
        raise AssertionError("an empty conversation was served")


def models() -> None:
    listed = list(client.models.list())
    assert listed
    assert client.models.retrieve(listed[0].id).id == listed[0].id
    assert listed[0].type == "model"


def main() -> None:
    plain()
    streamed()
    errors()
    models()
    stop_sequence()
    if KIND == "real":
        forced(stream=False)
        forced(stream=True)
    else:
        parallel_tools()
        thinking_and_tool_loop()
        failures()


if __name__ == "__main__":
    main()
