"""A program written for the official OpenAI SDK. Run as `openai_client.py URL MODEL real|scripted`; it exits with 0
when everything is as the SDK expects it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import openai

URL, MODEL, KIND = sys.argv[1:4]
client = openai.OpenAI(base_url=URL + "/v1", api_key="any", max_retries=0)

CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 40},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Get the weather", "parameters": CITY},
}
NOTE: Any = {
    "type": "custom",
    "custom": {
        "name": "note",
        "description": "Keep a word",
        "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]{1,8}"}},
    },
}
READ: Any = {
    "type": "function",
    "function": {
        "name": "Read",
        "parameters": {"type": "object", "properties": {"file_path": {"type": "string"}}},
    },
}


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def check(completion: Any) -> Any:
    """The one choice of a completion that is of the right form."""
    assert completion.id.startswith("chatcmpl-"), completion
    assert (completion.object, completion.model) == ("chat.completion", MODEL)
    usage = completion.usage
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens >= 0
    assert usage.completion_tokens_details.reasoning_tokens >= 0
    (choice,) = completion.choices
    assert choice.message.role == "assistant"
    return choice


def refused(kind: type[openai.APIError], ask: Callable[[], Any]) -> Any:
    """The error of this kind that asking must end in."""
    error: Any = None
    try:
        ask()
    except kind as caught:
        error = caught
    assert error is not None, f"no {kind.__name__}"
    return error


def plain() -> None:
    completion = client.chat.completions.create(
        model=MODEL,
        max_completion_tokens=24,
        messages=[{"role": "developer", "content": "Be brief."}, *user("Hello from a client")],
        temperature=0,
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        user="somebody",
    )
    choice = check(completion)
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert completion._request_id.startswith("req_")


def streamed() -> None:
    # Few words: what is read in one go and what is read in two are rounded differently, and part in time.
    asked: Any = {"model": MODEL, "max_tokens": 8, "messages": user("Hello from a client"), "temperature": 0}
    *chunks, last = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.completion_tokens > 0
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    assert len({chunk.id for chunk in [*chunks, last]}) == 1
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == check(client.chat.completions.create(**asked)).message.content
    assert all(chunk.usage is None for chunk in client.chat.completions.create(**asked, stream=True))


def stopped() -> None:
    choice = check(
        client.chat.completions.create(
            model=MODEL, max_tokens=200, messages=user("Count: one, two, three, four"), stop=["e"]
        )
    )
    # Whether the model comes to an "e" at all is its own affair; it never gets out.
    assert choice.finish_reason in ("stop", "length")
    assert "e" not in choice.message.content


def models() -> None:
    listed = list(client.models.list())
    assert listed
    assert client.models.retrieve(listed[0].id).id == listed[0].id
    assert listed[0].object == "model"


def errors() -> None:
    create = client.chat.completions.create
    missing = refused(openai.NotFoundError, lambda: create(model="no-such-model", messages=user("x")))
    assert missing.code == "model_not_found"
    assert missing.request_id.startswith("req_")
    assert refused(openai.BadRequestError, lambda: create(model=MODEL, messages=user("x"), n=0)).param == "n"
    words = user("word " * 300_000)
    long = refused(openai.BadRequestError, lambda: create(model=MODEL, messages=words))
    assert long.code == "context_length_exceeded", long


def forced() -> None:
    asked: Any = {
        "model": MODEL,
        "max_tokens": 300,
        "temperature": 0,
        "messages": user("Weather in Paris?"),
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    }
    with client.chat.completions.stream(**asked) as running:
        of_stream = running.get_final_completion()
    for completion in (client.chat.completions.create(**asked), of_stream):
        choice = check(completion) if completion is not of_stream else completion.choices[0]
        (call,) = choice.message.tool_calls
        assert call.id
        assert (call.type, call.function.name) == ("function", "get_weather")
        told = json.loads(call.function.arguments)
        assert isinstance(told["city"], str)
        assert 1 <= told["days"] <= 9
        assert choice.finish_reason == "tool_calls"
    asked["tool_choice"] = "required"
    assert check(client.chat.completions.create(**asked)).message.tool_calls


def custom() -> None:
    asked: Any = {
        "model": MODEL,
        "max_tokens": 300,
        "temperature": 0,
        "tools": [NOTE],
        "tool_choice": {"type": "custom", "custom": {"name": "note"}},
    }
    history = user("Note a word.")
    message = check(client.chat.completions.create(messages=history, **asked)).message
    (call,) = message.tool_calls
    assert (call.type, call.custom.name) == ("custom", "note")
    assert re.fullmatch(r"[a-z]{1,8}", call.custom.input)
    deltas = [
        delta.custom["input"]
        for chunk in client.chat.completions.create(messages=history, **asked, stream=True)
        for delta in chunk.choices[0].delta.tool_calls or ()
    ]
    assert re.fullmatch(r"[a-z]{1,8}", "".join(deltas))
    history += [message, {"role": "tool", "tool_call_id": call.id, "content": "noted"}]
    check(client.chat.completions.create(messages=history, model=MODEL, max_tokens=8, tools=[NOTE]))


def functions() -> None:
    choice = check(
        client.chat.completions.create(
            model=MODEL,
            max_tokens=300,
            temperature=0,
            messages=user("Weather in Paris?"),
            functions=[{"name": "get_weather", "parameters": CITY}],
            function_call={"name": "get_weather"},
        )
    )
    assert choice.finish_reason == "function_call"
    assert 1 <= json.loads(choice.message.function_call.arguments)["days"] <= 9


def structured() -> None:
    schema: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY, "strict": True}}
    choice = check(
        client.chat.completions.create(
            model=MODEL, max_tokens=300, temperature=0, messages=user("Paris, three days"), response_format=schema
        )
    )
    told = json.loads(choice.message.content)
    assert set(told) == {"city", "days"}


def parallel_tools() -> None:
    with client.chat.completions.stream(
        model=MODEL, max_tokens=300, messages=user("Two tools"), tools=[WEATHER], tool_choice="auto"
    ) as running:
        completion = running.get_final_completion()
    (choice,) = completion.choices
    calls = choice.message.tool_calls or []
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Zürich", "東京"]
    assert len({call.id for call in calls}) == 2
    assert choice.finish_reason == "tool_calls"


def reasoning_and_tool_loop() -> None:
    asked: Any = {"model": MODEL, "max_tokens": 2000, "tools": [READ], "reasoning_effort": "low"}
    history = user("Read note")
    with client.chat.completions.stream(messages=history, **asked) as running:
        first = running.get_final_completion().choices[0].message
    assert first.model_extra
    assert first.model_extra["reasoning_content"].strip() == "I read it."
    assert first.content
    assert first.content.strip() == "Let me look."
    (call,) = first.tool_calls or []
    history += [
        first.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "hello"},
    ]
    second = check(client.chat.completions.create(messages=history, **asked))
    assert second.message.content == "The file says hello."
    assert second.message.reasoning_content.strip() == "It answered."
    assert second.finish_reason == "stop"


def failures() -> None:
    def ask(text: str) -> None:
        for _ in client.chat.completions.create(model=MODEL, max_tokens=100, messages=user(text), stream=True):
            pass

    for text, kind in (("Fail before", openai.InternalServerError), ("Fail after", openai.APIError)):
        assert "script says to fail" in str(refused(kind, lambda text=text: ask(text)))  # type: ignore[misc]


def main() -> None:
    plain()
    streamed()
    stopped()
    models()
    errors()
    if KIND == "real":
        forced()
        custom()
        functions()
        structured()
    else:
        parallel_tools()
        reasoning_and_tool_loop()
        failures()


if __name__ == "__main__":
    main()
