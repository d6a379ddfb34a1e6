"""pydantic-ai on the Responses API: agents with tools and typed results, thinking that is sent back."""

from __future__ import annotations

import asyncio
from typing import Any

import pydantic
from checks import STEADY, URL, check, requests, run
from pydantic_ai import Agent, ModelSettings, NativeOutput
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(pydantic.BaseModel):
    """A city."""

    name: str
    population: int


def agent(**more: Any) -> Agent[None, Any]:
    provider = OpenAIProvider(api_key="dummy", base_url=f"{URL}/v1")
    settings = ModelSettings(max_tokens=64, **STEADY)
    made: Agent[None, Any] = Agent(
        OpenAIResponsesModel("local-model", provider=provider), model_settings=settings, **more
    )
    return made


def with_weather() -> Agent[None, Any]:
    made = agent()

    @made.tool_plain
    def get_weather(city: str) -> str:
        """Get the weather."""
        return f"21 degrees in {city}"

    return made


@check()
def text() -> None:
    result = agent(instructions="Be brief.").run_sync("Count to ten")
    assert result.output
    assert result.usage.output_tokens > 0


@check()
def text_streaming() -> None:
    async def main() -> list[str]:
        async with agent().run_stream("Count to ten") as result:
            return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    assert "".join(asyncio.run(main()))


@check("scripted")
def tool_loop() -> None:
    since = len(requests())
    result = with_weather().run_sync("What is the weather in Zürich?")
    assert result.output == "It is 21 degrees there."
    assert [entry["status"] for entry in requests(since)] == [200, 200]
    assert with_weather().run_sync("Thank you", message_history=result.all_messages()).output == result.output


@check("scripted")
def typed() -> None:
    assert agent(output_type=NativeOutput(City)).run_sync("Name a city").output.name == "Zürich"


@check("scripted")
def thinking() -> None:
    result = agent().run_sync("Hello")
    assert [part.part_kind for part in result.all_messages()[-1].parts] == ["thinking", "text"]


if __name__ == "__main__":
    run()
