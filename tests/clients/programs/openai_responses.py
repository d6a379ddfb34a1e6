"""The official OpenAI SDK on the Responses API: streams, their helper, `parse`, tools, chains, conversations, the
background."""

from __future__ import annotations

import json
import time
from typing import Any, Literal

import openai
import pydantic
from checks import KIND, STEADY, URL, check, raised, run

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="dummy", max_retries=0)
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


class City(pydantic.BaseModel):
    """A city."""

    name: str
    population: int


class Size(pydantic.BaseModel):
    """How large a place is."""

    size: Literal["small", "large"]
    capital: bool


Wanted = City if KIND == "scripted" else Size


def create(**given: Any) -> Any:
    return client.responses.create(**{"model": "local-model", "max_output_tokens": 64, **STEADY, **given})


@check()
def text() -> None:
    response = create(input="Count to ten", instructions="Be brief.")
    assert response.output_text
    assert response.usage.input_tokens > 0
    assert response.usage.output_tokens > 0


@check()
def stream() -> None:
    kinds = [event.type for event in create(input="Count to ten", stream=True)]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert "response.output_text.delta" in kinds
    assert kinds[-1] in ("response.completed", "response.incomplete")


@check("scripted")
def stream_helper() -> None:
    with client.responses.stream(model="local-model", input="Hello", reasoning={"summary": "auto"}) as events:
        kinds = {event.type for event in events}
        final = events.get_final_response()
    assert "response.reasoning_summary_text.delta" in kinds
    assert final.output_text == "Hello from the script. 😀"


@check()
def parse() -> None:
    response = client.responses.parse(
        model="local-model", input="Name a city", text_format=Wanted, max_output_tokens=300, **STEADY
    )
    assert isinstance(response.output_parsed, Wanted)


@check("scripted")
def tool_loop() -> None:
    for chained in (False, True):
        asked: list[Any] = [{"role": "user", "content": "What is the weather in Zürich and Bern?"}]
        first = create(input=asked, tools=[WEATHER])
        calls = [item for item in first.output if item.type == "function_call"]
        assert [json.loads(call.arguments)["city"] for call in calls] == ["Zürich", "Bern"]
        answers = [{"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"} for call in calls]
        history = answers if chained else [*asked, *first.output, *answers]
        more = {"previous_response_id": first.id} if chained else {}
        assert create(input=history, tools=[WEATHER], **more).output_text == "It is 21 degrees there."


@check("real")
def forced_tool() -> None:
    choice = {"type": "function", "name": "get_weather"}
    (call,) = create(input="What is the weather in Bern?", tools=[WEATHER], tool_choice=choice).output
    assert isinstance(json.loads(call.arguments)["city"], str)


@check("real")
def custom_tool() -> None:
    format = {"type": "grammar", "syntax": "lark", "definition": 'start: "a" LF "b"+\n%import common.LF'}
    tool = {"type": "custom", "name": "letters", "format": format}
    choice = {"type": "custom", "name": "letters"}
    (call,) = create(input="Write some letters.", tools=[tool], tool_choice=choice, max_output_tokens=200).output
    assert call.status == "incomplete" or (call.input.startswith("a\nb") and set(call.input[2:]) == {"b"}), call


@check()
def kept() -> None:
    response = create(input="Count to ten")
    assert client.responses.retrieve(response.id).output_text == response.output_text
    assert [item.type for item in client.responses.input_items.list(response.id)] == ["message"]
    client.responses.delete(response.id)
    raised(openai.NotFoundError, lambda: client.responses.retrieve(response.id))


@check()
def background() -> None:
    response = create(input="Count to ten", background=True)
    while response.status in ("queued", "in_progress"):
        time.sleep(0.1)
        response = client.responses.retrieve(response.id)
    assert response.output_text


@check()
def heard_again() -> None:
    events = create(input="Count to ten", background=True, stream=True)
    begun = next(iter(events))
    events.close()
    with client.responses.stream(response_id=begun.response.id, starting_after=begun.sequence_number) as rest:
        numbers = [event.sequence_number for event in rest]
    assert numbers == list(range(1, len(numbers) + 1))
    assert client.responses.retrieve(begun.response.id).output_text


@check()
def conversation() -> None:
    made = client.conversations.create(items=[{"role": "developer", "content": "Be brief."}])
    for question in ("Count to ten", "And on"):
        assert create(input=question, conversation=made.id).conversation.id == made.id
    items = list(client.conversations.items.list(made.id, order="asc"))
    roles = [item.role for item in items if item.type == "message"]
    assert roles == ["developer", "user", "assistant", "user", "assistant"], roles
    assert client.conversations.delete(made.id).deleted


@check()
def compacted() -> None:
    first = create(input="Count to ten")
    window = client.responses.compact(model="local-model", previous_response_id=first.id).output
    assert [item.type for item in window] == ["message", "compaction"]
    assert create(input=[*window, {"role": "user", "content": "And on"}]).output_text


@check()
def counted() -> None:
    tokens = client.responses.input_tokens.count(model="local-model", input="Count to ten").input_tokens
    assert tokens == create(input="Count to ten").usage.input_tokens


@check()
def errors() -> None:
    assert raised(openai.NotFoundError, lambda: create(model="none such", input="x")).code == "model_not_found"
    refused = raised(openai.BadRequestError, lambda: create(input="x", previous_response_id="resp_none"))
    assert refused.code == "previous_response_not_found"


if __name__ == "__main__":
    run()
