"""The Agent SDK for Python, with the command line that it brings: text, and a loop of a tool written in Python."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from checks import URL, check, requests, run, streams
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ResultMessage,
    TextBlock,
    ToolUseBlock,
    create_sdk_mcp_server,
    query,
    tool,
)

ENVIRONMENT = {
    "ANTHROPIC_BASE_URL": URL,
    "ANTHROPIC_AUTH_TOKEN": "dummy",
    "ANTHROPIC_SMALL_FAST_MODEL": "local-model",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "256",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
}


@tool("get_weather", "Get the weather", {"city": str})
async def get_weather(asked: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": f"21 degrees in {asked['city']}"}]}


def ask(prompt: str, **more: Any) -> tuple[list[Any], ResultMessage]:
    """The blocks that the model said, and the result."""
    given: dict[str, Any] = {"model": "local-model", "env": ENVIRONMENT, "cwd": os.environ["WORK"], "tools": [], **more}

    async def main() -> list[Any]:
        return [message async for message in query(prompt=prompt, options=ClaudeAgentOptions(**given))]

    messages = asyncio.run(main())
    blocks = [block for message in messages if isinstance(message, AssistantMessage) for block in message.content]
    (result,) = [message for message in messages if isinstance(message, ResultMessage)]
    return blocks, result


@check("scripted")
def text() -> None:
    since = len(requests())
    blocks, result = ask("Hello", system_prompt="You are terse.")
    assert [block.text for block in blocks if isinstance(block, TextBlock)] == ["Hello from the script. 😀"]
    assert not result.is_error
    assert streams(requests(since)) == [True]


@check("scripted")
def tool_loop() -> None:
    since = len(requests())
    blocks, result = ask(
        "What is the weather in Zürich?",
        system_prompt="You are terse.",
        mcp_servers={"local": create_sdk_mcp_server("local", tools=[get_weather])},
        allowed_tools=["mcp__local__get_weather"],
    )
    calls = [block for block in blocks if isinstance(block, ToolUseBlock)]
    assert [(call.name, call.input) for call in calls] == [("mcp__local__get_weather", {"city": "Zürich"})], blocks
    assert result.result == "It is 21 degrees there.", result
    assert (result.num_turns, result.is_error) == (2, False)
    assert streams(requests(since)) == [True, True]


if __name__ == "__main__":
    run()
