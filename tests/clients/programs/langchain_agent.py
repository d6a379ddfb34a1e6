"""langchain-anthropic and an agent of langgraph: tools, structured output, streams, counting, asynchronous use."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import anthropic
import pydantic
from checks import KIND, STEADY, URL, check, raised, requests, run
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

SCRIPTED, REAL = "scripted", "real"


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(max_length=40)
    population: int = pydantic.Field(ge=0, le=99_999_999)


class Size(pydantic.BaseModel):
    """How large a place is."""

    size: Literal["small", "large"]
    capital: bool


@tool
def get_weather(city: str) -> str:
    """Get the weather."""
    return f"21 degrees in {city}"


def chat(**more: Any) -> ChatAnthropic:
    given = {"model": "local-model", "max_tokens": 64, "max_retries": 0, **STEADY, **more}
    return ChatAnthropic(base_url=URL, api_key="dummy", **given)


@check()
def invoke() -> None:
    for model in ("local-model", "claude-sonnet-4-5"):
        answer = chat(model=model).invoke([SystemMessage("Be brief."), HumanMessage("Count to ten")])
        assert answer.content
        assert answer.response_metadata["stop_reason"] in ("end_turn", "max_tokens")
        assert answer.response_metadata["model_name"] == model
        assert answer.usage_metadata["input_tokens"] > 0
        assert answer.usage_metadata["output_tokens"] > 0


@check()
def stream() -> None:
    chunks = list(chat().stream("Count to ten"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert len(chunks) > 2
    assert whole.text
    assert whole.usage_metadata["output_tokens"] > 0
    assert whole.response_metadata["stop_reason"] in ("end_turn", "max_tokens")


@check()
def temperature_is_passed_on() -> None:
    since = len(requests())
    assert chat(temperature=0.2, top_k=5).invoke("Hello").response_metadata["id"].startswith("msg_")
    assert requests(since)[0]["body"]["temperature"] == 0.2


@check(SCRIPTED)
def tools_by_hand() -> None:
    bound = chat().bind_tools([get_weather])
    history: list[Any] = [HumanMessage("What is the weather in Zürich and Bern?")]
    answer = bound.invoke(history)
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Zürich"}, {"city": "Bern"}]
    history.append(answer)
    history += [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in answer.tool_calls]
    assert bound.invoke(history).text == "It is 21 degrees there."


@check(SCRIPTED)
def streamed_tools() -> None:
    chunks = list(chat().bind_tools([get_weather]).stream("What is the weather in Zürich?"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("get_weather", {"city": "Zürich"})]
    assert whole.tool_calls[0]["id"].startswith("toolu_")


@check(SCRIPTED)
def react_agent() -> None:
    since = len(requests())
    agent = create_agent(chat(), [get_weather])
    messages = agent.invoke({"messages": [HumanMessage("What is the weather in Zürich?")]})["messages"]
    assert [type(message).__name__ for message in messages] == [
        "HumanMessage",
        "AIMessage",
        "ToolMessage",
        "AIMessage",
    ]
    assert messages[-1].text == "It is 21 degrees there."
    assert [entry["status"] for entry in requests(since)] == [200, 200]


@check(SCRIPTED)
def react_agent_streaming() -> None:
    async def main() -> list[str]:
        agent = create_agent(chat(), [get_weather])
        asked = {"messages": [HumanMessage("What is the weather in Zürich?")]}
        pieces = [piece async for piece, _ in agent.astream(asked, stream_mode="messages")]
        return [piece.text for piece in pieces if isinstance(piece, AIMessage)]

    since = len(requests())
    assert "".join(asyncio.run(main())).endswith("It is 21 degrees there.")
    assert [entry["body"].get("stream") for entry in requests(since)] == [True, True]


@check()
def structured_output_by_a_tool() -> None:
    structured = chat(max_tokens=300).with_structured_output(City, method="function_calling")
    assert isinstance(structured.invoke("Name a city"), City)


@check()
def structured_output_by_a_schema() -> None:
    wanted = City if KIND == SCRIPTED else Size
    structured = chat(max_tokens=300).with_structured_output(wanted, method="json_schema")
    assert isinstance(structured.invoke("Name a city"), wanted)


@check(SCRIPTED)
def thinking() -> None:
    answer = chat(max_tokens=2048, thinking={"type": "enabled", "budget_tokens": 1024}).invoke("Hello")
    assert [block["type"] for block in answer.content] == ["thinking", "text"]
    again = chat(max_tokens=2048).invoke([HumanMessage("Hello"), answer, HumanMessage("Again")])
    assert again.text == "Hello from the script. 😀"


@check()
def counting() -> None:
    messages = [SystemMessage("Be brief."), HumanMessage("Count to ten")]
    counted = chat().get_num_tokens_from_messages(messages)
    assert counted == chat().invoke(messages).usage_metadata["input_tokens"]


@check()
def many_at_once() -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(*(chat(max_tokens=8).ainvoke(f"Count to ten, {n}") for n in range(4)))

    assert len({answer.id for answer in asyncio.run(main())}) == 4


@check()
def errors() -> None:
    raised(anthropic.NotFoundError, lambda: chat(model="nothing-of-the-kind").invoke("x"))


if __name__ == "__main__":
    run()
