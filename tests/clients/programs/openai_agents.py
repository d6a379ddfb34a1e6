"""openai-agents, on its own Responses model: a tool loop, a typed result, streams."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pydantic
from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from checks import STEADY, URL, check, run

set_tracing_disabled(True)


class City(pydantic.BaseModel):
    """A city."""

    name: str
    population: int


@function_tool
def get_weather(city: str) -> str:
    """Get the weather."""
    return f"21 degrees in {city}"


def agent(**more: Any) -> Agent[None]:
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="dummy", max_retries=0)
    model = OpenAIResponsesModel("local-model", client)
    settings = ModelSettings(max_tokens=64, **STEADY)
    return Agent(name="Weather", instructions="Be brief.", model=model, model_settings=settings, **more)


@check()
def text() -> None:
    assert Runner.run_sync(agent(), "Count to ten").final_output


@check("scripted")
def tool_loop() -> None:
    result = Runner.run_sync(agent(tools=[get_weather]), "What is the weather in Zürich?")
    assert result.final_output == "It is 21 degrees there."


@check("scripted")
def tool_loop_streaming() -> None:
    async def main() -> tuple[str, set[str]]:
        result = Runner.run_streamed(agent(tools=[get_weather]), "What is the weather in Zürich and Bern?")
        kinds = {event.type async for event in result.stream_events()}
        return result.final_output, kinds

    said, kinds = asyncio.run(main())
    assert said == "It is 21 degrees there."
    assert {"raw_response_event", "run_item_stream_event"} <= kinds


@check("scripted")
def typed() -> None:
    result = Runner.run_sync(agent(output_type=City), "Name a city")
    assert result.final_output == City(name="Zürich", population=448664)


@check()
def chained() -> None:
    result = Runner.run_sync(agent(), "Count to ten", auto_previous_response_id=True)
    again = Runner.run_sync(agent(), "Count to ten", previous_response_id=result.last_response_id)
    assert again.final_output


if __name__ == "__main__":
    run()
