"""instructor: typed extraction by forced tools, by parallel tools, as a partial stream, and by a schema."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import instructor
import pydantic
from checks import KIND, STEADY, URL, check, requests, run

SCRIPTED = "scripted"


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=40)
    population: int = pydantic.Field(ge=0, le=99_999_999)


def ask(text: str = "Name a city with its population", **more: Any) -> Any:
    asked = {"max_tokens": 300, "messages": [{"role": "user", "content": text}], "extra_body": STEADY}
    return {"model": "local-model", "max_retries": 0, **asked, **more}


def client(mode: instructor.Mode) -> Any:
    return instructor.from_anthropic(anthropic.Anthropic(base_url=URL, api_key="dummy", max_retries=0), mode=mode)


@check()
def by_a_tool() -> None:
    since = len(requests())
    city, message = client(instructor.Mode.TOOLS).create_with_completion(response_model=City, **ask())
    assert isinstance(city, City)
    assert message.stop_reason == "tool_use"
    assert [entry["status"] for entry in requests(since)] == [200]


@check()
def partial() -> None:
    cities = list(client(instructor.Mode.TOOLS).create_partial(response_model=City, **ask()))
    City.model_validate(cities[-1].model_dump())
    assert KIND == SCRIPTED or len(cities) > 1


@check()
def asynchronous() -> None:
    async def main() -> list[Any]:
        made = anthropic.AsyncAnthropic(base_url=URL, api_key="dummy", max_retries=0)
        later = instructor.from_anthropic(made, mode=instructor.Mode.TOOLS)
        return await asyncio.gather(*(later.create(response_model=City, **ask()) for _ in range(3)))

    assert all(isinstance(city, City) for city in asyncio.run(main()))


@check(SCRIPTED)
def by_text() -> None:
    city = client(instructor.Mode.JSON).create(response_model=City, **ask())
    assert isinstance(city, City)


@check(SCRIPTED)
def reasoning_before_a_tool() -> None:
    mode = instructor.Mode.ANTHROPIC_REASONING_TOOLS
    thinking = {"type": "enabled", "budget_tokens": 1024}
    city = client(mode).create(response_model=City, **ask(max_tokens=2048, thinking=thinking))
    assert isinstance(city, City)


if __name__ == "__main__":
    run()
