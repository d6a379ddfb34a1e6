"""The official Python SDK, generations 0, 1 and 2: helpers, errors, asynchronous use and cancellation."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

import anthropic
import pydantic
from checks import KIND, STEADY, URL, check, raised, requests, run

client = anthropic.Anthropic(base_url=URL, api_key="dummy", max_retries=0)
THREADS = int(anthropic.__version__.split(".")[0]) >= 2
MODELS = ("local-model", "claude-sonnet-4-5")
SCRIPTED, REAL = "scripted", "real"


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=40)
    population: int = pydantic.Field(ge=0, le=99_999_999)


class Size(pydantic.BaseModel):
    """How large a place is. (The SDK leaves bounds out of what it sends, so that these need none.)"""

    size: Literal["small", "large"]
    capital: bool


Wanted = City if KIND == "scripted" else Size


@anthropic.beta_tool
def get_weather(city: str) -> str:
    """Get the weather.

    Args:
        city: The city.
    """
    return f"21 degrees in {city}"


@anthropic.beta_async_tool
async def get_weather_later(city: str) -> str:
    """Get the weather.

    Args:
        city: The city.
    """
    return f"21 degrees in {city}"


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


def ask(text: str, **more: Any) -> Any:
    body = {**STEADY, **more.pop("extra_body", {})}
    return {"model": MODELS[0], "max_tokens": 64, "messages": user(text), "extra_body": body, **more}


def total(usage: Any) -> int:
    return int(usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens)


def check_runner(entries: list[dict[str, Any]], *, stream: bool) -> None:
    """Two requests, of which the second goes on with the first one's thread, where the SDK knows threads, and else has
    the whole conversation."""
    assert [entry["status"] for entry in entries] == [200, 200], entries
    assert all(bool(entry["body"].get("stream")) == stream for entry in entries)
    first, last = (entry["body"] for entry in entries)
    roles = [turn["role"] for turn in last["messages"]]
    if THREADS:
        assert first["thread"] == {"type": "create"}
        assert last["thread"]["type"] == "continue"
        assert last["thread"]["previous_message_id"] in entries[0]["reply"]
        assert (roles, "tools" in last) == (["user"], False), last
    else:
        assert roles == ["user", "assistant", "user"]
        assert last["tools"]


@check(SCRIPTED)
def tool_runner() -> None:
    since = len(requests())
    runner = client.beta.messages.tool_runner(tools=[get_weather], **ask("What is the weather in Zürich?"))
    kinds = [[block.type for block in message.content] for message in runner]
    assert kinds == [["thinking", "text", "tool_use"], ["thinking", "text"]], kinds
    assert runner.until_done().content[-1].text == "It is 21 degrees there."
    check_runner(requests(since), stream=False)


@check(SCRIPTED)
def tool_runner_streaming() -> None:
    since = len(requests())
    asked = ask("What is the weather in Zürich?")
    runner = client.beta.messages.tool_runner(tools=[get_weather], stream=True, **asked)
    last = None
    for stream in runner:
        events = [event.type for event in stream]
        assert events[0] == "message_start"
        assert events[-1] == "message_stop"
        last = stream.get_final_message()
    assert last is not None
    assert last.content[-1].text == "It is 21 degrees there."
    check_runner(requests(since), stream=True)


@check(SCRIPTED)
def tool_runner_asynchronous_and_parallel() -> None:
    async def main() -> Any:
        async with anthropic.AsyncAnthropic(base_url=URL, api_key="dummy", max_retries=0) as later:
            tool = get_weather_later
            tool.name = "get_weather"
            runner = later.beta.messages.tool_runner(tools=[tool], **ask("What is the weather in Zürich and Bern?"))
            return await runner.until_done()

    since = len(requests())
    assert asyncio.run(main()).content[-1].text == "It is 21 degrees there."
    results = requests(since)[-1]["body"]["messages"][-1]["content"]
    assert [block["type"] for block in results] == ["tool_result", "tool_result"]


@check()
def parse() -> None:
    for model in MODELS:
        for messages in (client.messages, client.beta.messages):
            asked = {**ask("Name a city with its population.", max_tokens=200), "model": model}
            parsed = messages.parse(output_format=Wanted, **asked)
            assert isinstance(parsed.parsed_output, Wanted), parsed
            assert parsed.stop_reason == "end_turn"


@check()
def parse_streaming() -> None:
    asked = ask("Name a city with its population.", max_tokens=200)
    with client.messages.stream(output_format=Wanted, **asked) as stream:
        for _ in stream:
            pass
        assert isinstance(stream.get_final_message().parsed_output, Wanted)


@check()
def structured_output_as_a_field() -> None:
    schema = {**City.model_json_schema(), "additionalProperties": False}
    answer = client.messages.create(
        **ask("Name a city with its population.", max_tokens=200),
        output_config={"format": {"type": "json_schema", "schema": schema}, "effort": "low"},
    )
    City.model_validate_json(answer.content[-1].text)


@check()
def models() -> None:
    listed = list(client.models.list(limit=1))
    assert [model.id for model in listed] == ["local-model"]
    first = listed[0]
    assert (first.type, bool(first.display_name), first.created_at.tzinfo is not None) == ("model", True, True)
    assert client.models.retrieve("local-model") == first
    assert client.beta.models.retrieve("local-model").id == "local-model"
    error = raised(anthropic.NotFoundError, lambda: client.models.retrieve("nothing-of-the-kind"))
    assert error.body["error"]["type"] == "not_found_error"


@check()
def raw_responses() -> None:
    raw = client.messages.with_raw_response.create(**ask("Hello"))
    assert raw.headers["request-id"].startswith("req_")
    assert raw.headers["content-type"] == "application/json"
    message = raw.parse()
    assert message._request_id == raw.headers["request-id"]
    with client.messages.with_streaming_response.create(**ask("Hello"), stream=True) as response:
        lines = list(response.iter_lines())
    assert lines[0] == "event: message_start"
    assert response.headers["content-type"].startswith("text/event-stream")


def raises(kind: type[anthropic.APIStatusError], type_: str, status: int, **asked: Any) -> anthropic.APIStatusError:
    error: anthropic.APIStatusError = raised(anthropic.APIStatusError, lambda: client.messages.create(**asked))
    assert type(error) is kind, error
    assert error.status_code == status
    assert error.body["type"] == "error"
    assert error.body["error"]["type"] == type_
    assert error.body["request_id"] == error.request_id == error.response.headers["request-id"]
    return error


@check()
def error_classes() -> None:
    bad = anthropic.BadRequestError
    raises(bad, "invalid_request_error", 400, **{**ask("x"), "messages": []})
    raises(bad, "invalid_request_error", 400, **{**ask("x"), "max_tokens": -1})
    raises(bad, "invalid_request_error", 400, **ask("x"), tool_choice={"type": "tool", "name": "no"})
    error = raises(bad, "invalid_request_error", 400, **ask("x", extra_body={"messages": [{"role": "user"}]}))
    assert "messages.0.content" in str(error), error
    raises(anthropic.NotFoundError, "not_found_error", 404, **{**ask("x"), "model": "nothing-of-the-kind"})
    missing = raised(anthropic.NotFoundError, lambda: client.post("/v1/nothing", cast_to=object))
    assert missing.body["error"]["type"] == "not_found_error"


@check(REAL)
def too_long() -> None:
    error = raises(anthropic.BadRequestError, "invalid_request_error", 400, **ask("word " * 9000))
    assert "prompt is too long: " in str(error)


@check(SCRIPTED)
def failing_engine() -> None:
    raises(anthropic.InternalServerError, "api_error", 500, **ask("Fail at once"))

    def streamed() -> str:
        with client.messages.stream(**ask("Fail later")) as stream:
            return "".join(stream.text_stream)

    assert raised(anthropic.APIStatusError, streamed).body["error"]["type"] == "api_error"


@check(SCRIPTED)
def retries() -> None:
    since = len(requests())
    low_priority = client.with_options(max_retries=2)
    raised(anthropic.InternalServerError, lambda: low_priority.messages.create(**ask("Fail at once")))
    assert [entry["status"] for entry in requests(since)] == [500] * 3


@check()
def counting() -> None:
    tools: Any = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    asked = {"model": MODELS[0], "messages": user("Grüße aus 東京 🙂"), "system": "Be brief.", "tools": tools}
    counted = client.messages.count_tokens(**asked).input_tokens
    assert counted == client.beta.messages.count_tokens(**asked).input_tokens
    assert counted == total(client.messages.create(max_tokens=1, **asked).usage)


@check()
def streams_at_once() -> None:
    async def one(later: anthropic.AsyncAnthropic, number: int) -> str:
        async with later.messages.stream(**ask(f"Count to ten, number {number}", max_tokens=12)) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            message = await stream.get_final_message()
            assert message.content[-1].text == text
            return message.id

    async def main() -> list[str]:
        async with anthropic.AsyncAnthropic(base_url=URL, api_key="dummy", max_retries=0) as later:
            return await asyncio.gather(*(one(later, number) for number in range(8 if KIND == SCRIPTED else 4)))

    ids = asyncio.run(main())
    assert len(set(ids)) == len(ids)


@check()
def cancelling() -> None:
    since = len(requests())
    started = time.monotonic()
    text = "Slowly" if KIND == SCRIPTED else "Tell me a very long story."
    with client.messages.stream(**ask(text, max_tokens=2000)) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                break
    assert time.monotonic() - started < 20
    time.sleep(0.5)
    (entry,) = requests(since)
    assert not entry["whole"]

    async def main() -> None:
        async with anthropic.AsyncAnthropic(base_url=URL, api_key="dummy", max_retries=0) as later:
            task = asyncio.ensure_future(later.messages.create(**ask(text, max_tokens=2000)))
            await asyncio.sleep(0.5)
            task.cancel()

    asyncio.run(main())
    assert [entry["whole"] for entry in requests(since)] == [False, False]
    assert client.messages.create(**ask("Hello", max_tokens=4)).content is not None


@check(SCRIPTED)
def thinking_comes_back() -> None:
    for display in ("summarized", "omitted"):
        thinking: Any = {"type": "enabled", "budget_tokens": 1024, "display": display}
        asked = ask("Hello", max_tokens=2048, extra_body={"thinking": thinking})
        with client.messages.stream(**asked) as stream:
            message = stream.get_final_message()
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert message.content[0].signature
        assert bool(message.content[0].thinking) == (display == "summarized")
        content = [block.model_dump(exclude_none=True) for block in message.content]
        history = [*user("Hello"), {"role": "assistant", "content": content}, *user("Hello again")]
        again = client.messages.create(**{**asked, "messages": history})
        assert again.content[-1].text == "Hello from the script. 😀"


@check(REAL)
def forced_tools() -> None:
    schema = {**City.model_json_schema(), "additionalProperties": False}
    tools: Any = [{"name": "record", "description": "Record a city", "input_schema": schema, "strict": True}]
    for choice in ({"type": "any"}, {"type": "tool", "name": "record", "disable_parallel_tool_use": True}):
        asked = ask("Record Paris.", max_tokens=300, tools=tools, tool_choice=choice)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        for message in (streamed, client.messages.create(**asked)):
            assert message.stop_reason == "tool_use", message
            for block in message.content:
                assert block.type == "tool_use"
                City.model_validate(block.input)


@check(REAL)
def prefix_is_cached() -> None:
    asked = ask("A long question. " * 60, max_tokens=4)
    client.messages.create(**asked)
    usage = client.messages.create(**asked).usage
    assert usage.cache_read_input_tokens > usage.input_tokens, usage


@check()
def every_kind_of_field() -> None:
    answer = client.beta.messages.create(
        **ask("Hello", extra_body={"temperature": 0.2, "top_p": 0.9, "top_k": 5}),
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        metadata={"user_id": "somebody"},
        stop_sequences=["no such words"],
        service_tier="auto",
        betas=["context-management-2025-06-27", "nothing-known-2031-01-01"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
    )
    assert answer.stop_reason in ("end_turn", "max_tokens")
    assert answer.content


@check()
def documents_and_search_results() -> None:
    document: Any = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Bees fly."}}
    found: Any = {
        "type": "search_result",
        "source": "https://example.org",
        "title": "Bees",
        "content": [{"type": "text", "text": "Bees fly."}],
    }
    text = {"type": "text", "text": "What do bees do?"}
    answer = client.messages.create(**{**ask(""), "messages": user([document, found, text])})
    assert answer.usage.input_tokens > 0


if __name__ == "__main__":
    run()
