"""Real MCP servers from npm and PyPI through the connector, asked for by the official SDK: two that the request names,
two of the operator's own, one of those a program that the server starts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
from anthropic.lib.tools.mcp import async_mcp_tool
from checks import KIND, STEADY, URL, check, requests, run
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

WORK = Path(os.environ["WORK"])
SCRIPTED, REAL = "scripted", "real"
client = anthropic.Anthropic(base_url=URL, api_key="dummy", max_retries=0)


class McpServer:
    """A server in a process of its own: the port it listens on, and how it is started there."""

    def __init__(self, port: int, command: list[str], **environment: str) -> None:
        self.url = f"http://127.0.0.1:{port}/mcp"
        self._port, self._command = port, command
        self._environment = {**os.environ, "PORT": str(port), **environment}

    def start(self) -> subprocess.Popen[bytes]:
        """The process, once it listens."""
        log = (WORK / f"{Path(self._command[0]).name}.log").open("wb")
        process = subprocess.Popen(self._command, env=self._environment, cwd=WORK, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return process
            time.sleep(0.2)
        raise AssertionError(f"{self._command[0]} did not come up")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


EVERYTHING = McpServer(free_port(), ["mcp-server-everything", "streamableHttp"])
BOOKS = McpServer(
    port := free_port(),
    ["excel-mcp-server", "streamable-http", "--allow-dir", str(WORK), "--host", "127.0.0.1", "--port", str(port)],
)
DATABASE = McpServer(
    port := int(os.environ["PORT"]),
    [
        *("mcp-server-motherduck", "--transport", "http", "--host", "127.0.0.1", "--port", str(port)),
        *("--db-path", ":memory:", "--read-write"),
    ],
)
"""The operator's own, whose address the server knows from its settings."""


@contextlib.contextmanager
def running(*servers: McpServer) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes of these servers."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.extend(server.start() for server in servers)
        yield processes
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)


def toolset(name: str, *only: str, **more: Any) -> dict[str, Any]:
    """A toolset: all tools of a server, or these only."""
    chosen: dict[str, Any] = {"type": "mcp_toolset", "mcp_server_name": name, **more}
    if only:
        chosen |= {"default_config": {"enabled": False}, "configs": {each: {"enabled": True} for each in only}}
    return chosen


def ask(text: str, *toolsets: dict[str, Any], **more: Any) -> Any:
    """A request with these toolsets, that names the servers of those that are not the operator's."""
    named = {each["mcp_server_name"] for each in toolsets}
    places = {"everything": EVERYTHING.url, "books": BOOKS.url}
    return {
        "model": "local-model",
        "max_tokens": 300,
        "messages": [{"role": "user", "content": text}],
        "mcp_servers": [{"type": "url", "name": name, "url": url} for name, url in places.items() if name in named],
        "tools": list(toolsets),
        "betas": ["mcp-client-2025-11-20"],
        "extra_body": STEADY,
        **more,
    }


def replied(asked: Any) -> Any:
    """The reply, told whole and streamed alike."""
    whole = client.beta.messages.create(**asked)
    with client.beta.messages.stream(**asked) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_message()
    assert kinds(whole) == kinds(streamed), (whole, streamed)
    return streamed


def kinds(message: Any) -> list[str]:
    return [block.type for block in message.content]


def results(message: Any) -> list[tuple[bool, str]]:
    """Of each result whether it is an error, and its text."""
    found = [block for block in message.content if block.type == "mcp_tool_result"]
    calls = [block.id for block in message.content if block.type == "mcp_tool_use"]
    assert [block.tool_use_id for block in found] == calls, message
    return [(block.is_error, "\n".join(each.text for each in block.content)) for block in found]


def prompt_size(usage: Any) -> int:
    return int(usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens)


ALL = (toolset("everything"), toolset("books", "list_workbooks"), toolset("clock"), toolset("database"))


@check(SCRIPTED)
def four_servers_at_once() -> None:
    """Calls of one round go to all servers, and the history goes on from the same prompt."""
    asked = ask("Ask all servers", *ALL)
    message = replied(asked)
    assert kinds(message) == ["text", *["mcp_tool_use"] * 4, *["mcp_tool_result"] * 4, "text"], message
    names = [block.server_name for block in message.content if block.type == "mcp_tool_use"]
    assert names == ["everything", "database", "clock", "books"]
    total, answer, now, _ = results(message)
    assert not any(wrong for wrong, _ in results(message)), results(message)
    assert "5" in total[1]
    assert "42" in answer[1]
    assert "Europe/Zurich" in now[1]
    history = [*asked["messages"], {"role": "assistant", "content": message.content}]
    again = client.beta.messages.create(**{**asked, "messages": [*history, {"role": "user", "content": "Sure?"}]})
    last = message.usage.iterations[-1]
    assert again.usage.cache_read_input_tokens >= prompt_size(last) + last.output_tokens, (again.usage, last)


@check(SCRIPTED)
def several_rounds() -> None:
    """A workbook is made, written and read in rounds of one message."""
    message = replied(ask("Keep the books", toolset("books", "create_workbook", "write_range", "read_range")))
    assert kinds(message) == ["mcp_tool_use", "mcp_tool_result"] * 3 + ["text"], message
    assert not any(wrong for wrong, _ in results(message)), results(message)
    assert "honey" in results(message)[2][1]
    assert (WORK / "books.xlsx").exists()


@check(SCRIPTED)
def all_kinds_of_results() -> None:
    """Pictures, files, links and structured content, each in words that the model can use."""
    message = replied(ask("Show all kinds", toolset("everything")))
    picture, blob, text, links, structured = results(message)
    assert "[image: image/png" in picture[1], picture
    assert "base64 blob" in blob[1], blob
    assert "plaintext" in text[1], text
    assert links[1].count("demo://resource/dynamic/") == 2, links
    assert "temperature" in structured[1], structured


@check(SCRIPTED)
def failures() -> None:
    """Wrong inputs and a tool that takes too long are results that say so; the model goes on."""
    message = replied(ask("Go wrong", *ALL))
    assert kinds(message)[-1] == "text", message
    assert [wrong for wrong, _ in results(message)] == [True] * 4, results(message)
    assert "longer than 20 seconds" in results(message)[3][1], results(message)


@check(SCRIPTED)
def deferred_tools_are_found() -> None:
    """Of all tools of the servers the prompt holds only what a search found."""
    deferred = [toolset(name, default_config={"defer_loading": True}) for name in ("everything", "books")]
    search = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    asked = ask("Find a tool", *deferred)
    asked["tools"].append(search)
    message = replied(asked)
    assert kinds(message) == [
        *("server_tool_use", "tool_search_tool_result"),
        *("mcp_tool_use", "mcp_tool_result", "text"),
    ], message
    assert results(message)[0][0] is False, message
    full = ask("Find a tool", toolset("everything"), toolset("books"))
    counts = [
        client.beta.messages.count_tokens(**{key: each[key] for key in ("model", "messages", "mcp_servers", "tools")})
        for each in (asked, full)
    ]
    assert counts[0].input_tokens * 20 < counts[1].input_tokens, counts


@check(SCRIPTED)
def a_server_that_dies() -> None:
    """What it listed is kept for a while; its calls are errors, and those of the others are answered."""
    extra = McpServer(free_port(), ["mcp-server-everything", "streamableHttp"])
    with running(extra):
        asked = ask("Ask all servers", *ALL)
        asked["mcp_servers"] = [
            {**each, "url": extra.url if each["name"] == "everything" else each["url"]} for each in asked["mcp_servers"]
        ]
        assert not any(wrong for wrong, _ in results(client.beta.messages.create(**asked)))
    after = results(client.beta.messages.create(**asked))
    assert [wrong for wrong, _ in after] == [True, False, False, False], after


@check(SCRIPTED)
def tools_that_the_program_runs() -> None:
    """The SDK's own helper: a server of the program's, whose tools the SDK calls for the model."""

    async def main() -> Any:
        async with (
            streamable_http_client(EVERYTHING.url) as (reading, writing, *_),
            ClientSession(reading, writing) as session,
            anthropic.AsyncAnthropic(base_url=URL, api_key="dummy", max_retries=0) as later,
        ):
            await session.initialize()
            listed = (await session.list_tools()).tools
            tools = [async_mcp_tool(each, session) for each in listed if each.name == "get-tiny-image"]
            messages: Any = [{"role": "user", "content": "Show all kinds"}]
            runner = later.beta.messages.tool_runner(
                model="local-model", max_tokens=300, tools=tools, messages=messages, max_iterations=2
            )
            return await runner.until_done()

    since = len(requests())
    asyncio.run(main())
    (result, *_) = requests(since)[-1]["body"]["messages"][-1]["content"]
    assert [each["type"] for each in result["content"]] == ["text", "image", "text"], result


@check(REAL)
def forced_calls() -> None:
    """A small model is held to one tool of each server, and its input to the tool's schema."""
    for tool, wanted in (
        ("get-sum", toolset("everything", "get-sum")),
        ("list_workbooks", toolset("books", "list_workbooks")),
        ("get_current_time", toolset("clock", "get_current_time")),
        ("list_databases", toolset("database", "list_databases")),
    ):
        choice = {"type": "tool", "name": tool, "disable_parallel_tool_use": True}
        message = client.beta.messages.create(**ask("Call the tool.", wanted, tool_choice=choice, max_tokens=100))
        calls = [block for block in message.content if block.type == "mcp_tool_use"]
        assert calls[0].name == tool, message
        assert calls[0].server_name == wanted["mcp_server_name"]
        wrong, said = results(message)[0]
        assert said, message
        # Whatever it is called with, these two can be answered.
        assert not (wrong and tool in ("get-sum", "list_databases")), message


if __name__ == "__main__":
    assert KIND
    with running(EVERYTHING, BOOKS, DATABASE):
        run()
