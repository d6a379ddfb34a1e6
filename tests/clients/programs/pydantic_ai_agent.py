"""pydantic-ai: agents with tools and typed results."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pydantic
from checks import KIND, STEADY, URL, check, raised, requests, run
from pydantic_ai import Agent, ModelSettings, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

SCRIPTED = "scripted"


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=40)
    population: int = pydantic.Field(ge=0, le=99_999_999)


class Size(pydantic.BaseModel):
    """How large a place is."""

    size: Literal["small", "large"]
    capital: bool


Native = City if KIND == SCRIPTED else Size


def agent(model: str = "local-model", tokens: int = 64, **more: Any) -> Agent[None, Any]:
    provider = AnthropicProvider(api_key="dummy", base_url=URL)
    settings = ModelSettings(max_tokens=tokens, **STEADY)
    made: Agent[None, Any] = Agent(AnthropicModel(model, provider=provider), model_settings=settings, **more)
    return made


def with_weather(**more: Any) -> Agent[None, Any]:
    made = agent(**more)

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
    assert result.usage.input_tokens > 0


@check()
def text_streaming() -> None:
    async def main() -> list[str]:
        async with agent().run_stream("Count to ten") as result:
            return [piece async for piece in result.stream_text(delta=True, debounce_by=None)]

    assert "".join(asyncio.run(main()))


@check(SCRIPTED)
def tool_loop() -> None:
    since = len(requests())
    result = with_weather().run_sync("What is the weather in Zürich?")
    assert result.output == "It is 21 degrees there."
    assert [entry["status"] for entry in requests(since)] == [200, 200]
    since = len(requests())
    again = with_weather().run_sync("Thank you", message_history=result.all_messages())
    assert again.output == "It is 21 degrees there."
    assert len(requests(since)[0]["body"]["messages"]) == 5


@check(SCRIPTED)
def tool_loop_streaming() -> None:
    async def main() -> str:
        async with with_weather().run_stream("What is the weather in Zürich and Bern?") as result:
            output: str = await result.get_output()
            return output

    since = len(requests())
    assert asyncio.run(main()) == "It is 21 degrees there."
    assert [entry["body"]["stream"] for entry in requests(since)] == [True, True]


@check()
def output_by_a_tool() -> None:
    for model in ("local-model", "claude-sonnet-4-5"):
        result = agent(model, 300, output_type=ToolOutput(City, name="final_result")).run_sync("Name a city")
        assert isinstance(result.output, City)


@check()
def output_by_a_schema() -> None:
    result = agent("claude-sonnet-4-5", 300, output_type=NativeOutput(Native)).run_sync("Name a city")
    assert isinstance(result.output, Native)


@check(SCRIPTED)
def output_by_a_prompt() -> None:
    result = agent("local-model", 300, output_type=PromptedOutput(City)).run_sync("Name a city")
    assert isinstance(result.output, City)


@check()
def output_streaming() -> None:
    async def main() -> Any:
        async with agent("local-model", 300, output_type=City).run_stream("Name a city") as result:
            return await result.get_output()

    assert isinstance(asyncio.run(main()), City)


@check(SCRIPTED)
def thinking() -> None:
    settings: Any = {"anthropic_thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2048}
    result = agent("claude-sonnet-4-5").run_sync("Hello", model_settings=settings)
    parts = [part.part_kind for part in result.all_messages()[-1].parts]
    assert parts == ["thinking", "text"]
    again = agent("claude-sonnet-4-5").run_sync("Again", message_history=result.all_messages(), model_settings=settings)
    assert again.output == "Hello from the script. 😀"


@check()
def errors() -> None:
    error = raised(ModelHTTPError, lambda: agent("nothing-of-the-kind").run_sync("x"))
    assert error.status_code == 404


if __name__ == "__main__":
    run()
