"""langchain-openai on the Responses API: tools, structured output, streams, chains."""

from __future__ import annotations

from typing import Any

import pydantic
from checks import STEADY, URL, check, run
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


class City(pydantic.BaseModel):
    """A city."""

    name: str
    population: int


@tool
def get_weather(city: str) -> str:
    """Get the weather."""
    return f"21 degrees in {city}"


def chat(**more: Any) -> ChatOpenAI:
    given = {"model": "local-model", "max_tokens": 64, "max_retries": 0, **STEADY, **more}
    return ChatOpenAI(base_url=f"{URL}/v1", api_key="dummy", use_responses_api=True, **given)


@check()
def invoke() -> None:
    answer = chat().invoke("Count to ten")
    assert answer.text
    assert answer.usage_metadata["output_tokens"] > 0


@check()
def stream() -> None:
    assert "".join(chunk.text for chunk in chat().stream("Count to ten"))


@check("scripted")
def tool_loop() -> None:
    model = chat().bind_tools([get_weather])
    question = HumanMessage("What is the weather in Zürich?")
    for more in ({}, {"use_previous_response_id": True}):
        model = chat(**more).bind_tools([get_weather])
        answer = model.invoke([question])
        (call,) = answer.tool_calls
        assert call["args"] == {"city": "Zürich"}
        result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        assert model.invoke([question, answer, result]).text == "It is 21 degrees there."


@check("scripted")
def structured() -> None:
    model = chat().with_structured_output(City, method="json_schema")
    assert model.invoke("Name a city") == City(name="Zürich", population=448664)


if __name__ == "__main__":
    run()
