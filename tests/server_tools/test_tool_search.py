"""Tool search: of many deferred tools the prompt holds only what was found."""

from __future__ import annotations

import anthropic
import pytest

from antiphon.api.conversation import Tool
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import ToolFailed
from antiphon.server_tools.tool_search import ToolSearch, matching, ranked
from tests.server_tools.serving import Fields, call, running, says, user
from tests.server_tools.test_rounds import goes_on, kinds

SEARCHES = [f"tool_search_tool_{kind}{date}" for kind in ("bm25", "regex") for date in ("", "_20251119")]
MANY = {
    name: Tool(name=name, description=f"{verb.title()}s a {thing}.", schema={"type": "object"})
    for verb in ("create", "delete", "list", "read", "update")
    for thing in (f"thing{number}" for number in range(100))
    if (name := f"{verb}_{thing}")
} | {
    "getWeather": Tool(
        name="getWeather",
        description="Tells how it is outside.",
        schema={"type": "object", "properties": {"city": {"type": "string", "description": "A town's name."}}},
    )
}
DEFERRED: list[Fields] = [
    {"name": tool.name, "description": tool.description, "input_schema": tool.schema, "defer_loading": True}
    for tool in MANY.values()
]


@pytest.mark.parametrize("kind", SEARCHES)
async def test_what_is_found_can_be_called(kind: str) -> None:
    """The result refers to the tool, the next round has it and calls it, and the prompts hold one of five hundred
    tools; the history is its own prefix, whichever the kind of search."""
    name = kind.removesuffix("_20251119")
    query = "weather outside" if name.endswith("bm25") else "(?i)weather"
    outputs = "Let me see.\n" + call(name, query=query), call("getWeather", city="Rome"), "Fine."
    tools = [{"type": kind, "name": name}, *DEFERRED]
    async with running(ServerTools([ToolSearch()]), says(*outputs)) as server:
        messages = [user("How is it in Rome?")]
        first = await server.post(messages=messages, tools=tools)
        anthropic.types.Message.model_validate(first)
        assert first["stop_reason"] == "tool_use"
        result = {"type": "tool_result", "tool_use_id": first["content"][-1]["id"], "content": "Sunny."}
        messages += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": [result]}]
        await server.post(messages=messages, tools=tools)
        goes_on(server)
        prompt = server.engine.jobs[-1].text
    assert kinds(first) == ["text", "server_tool_use", "tool_search_tool_result", "tool_use"]
    (found,) = first["content"][2]["content"]["tool_references"]
    assert found == {"type": "tool_reference", "tool_name": "getWeather"}
    assert prompt.count("From here on you can call") == 1
    assert "delete_thing" not in prompt


def test_rare_words_rank_tools() -> None:
    """Rare words count for more, names are taken apart, arguments are searched too; what says nothing is left out."""
    assert ranked("delete thing7 please", MANY)[0] == "delete_thing7"
    assert ranked("town", MANY) == ["getWeather"]
    assert ranked("the weather", MANY)[0] == "getWeather"
    assert ranked("submarine", MANY) == []


def test_an_expression_finds_tools_in_bounded_time() -> None:
    """Found anywhere; what would take for ever elsewhere takes no time, what is no expression is an error."""
    assert matching("(?i)getw", MANY) == ["getWeather"]
    assert matching("^delete_thing9[0-4]", MANY) == [f"delete_thing9{number}" for number in range(5)]
    long = {"a": Tool(name="a" * 50_000 + "!", schema={})}
    assert matching("(a+)+$", long) == []
    for wrong in ("(", "x{100000}{1000}"):
        with pytest.raises(ToolFailed) as failed:
            matching(wrong, MANY)
        assert failed.value.code == "invalid_tool_input"
