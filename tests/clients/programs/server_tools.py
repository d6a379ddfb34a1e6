"""The official Python SDK and the tools that run on the server: their blocks in whole replies, streams and runners, and
the SDK's own tool for memory."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import anthropic
from anthropic.tools import BetaLocalFilesystemMemoryTool
from checks import URL, check, requests, run

client = anthropic.Anthropic(base_url=URL, api_key="dummy", max_retries=0)
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
FETCH: Any = {"type": "web_fetch_20250910", "name": "web_fetch", "citations": {"enabled": True}}
CODE: Any = {"type": "code_execution_20250825", "name": "code_execution"}
FIND: Any = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
SANDBOX = shutil.which("bwrap") is not None


@anthropic.beta_tool
def get_weather(city: str) -> str:
    """Get the weather.

    Args:
        city: The city.
    """
    return f"21 degrees in {city}"


def ask(text: str, *tools: Any, **more: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return {"model": "local-model", "max_tokens": 500, "messages": messages, "tools": list(tools), **more}


def replied(asked: Any) -> Any:
    """The reply, told whole and accumulated from a stream alike; every event has what the SDK's types say of it."""
    for messages in (client.messages, client.beta.messages):
        whole = messages.create(**asked)
        with messages.stream(**asked) as stream:
            for event in stream:
                if event.type == "content_block_stop":
                    assert event.content_block.type == stream.current_message_snapshot.content[event.index].type
            streamed = stream.get_final_message()
        assert plain(whole) == plain(streamed), (whole, streamed)
        type(whole).model_validate(whole.model_dump(mode="json"))
    return streamed


def plain(message: Any) -> list[dict[str, Any]]:
    """The blocks, without the ids and times, which differ from request to request."""
    dumped = [block.model_dump(mode="json", exclude_none=True) for block in message.content]
    return json.loads(re.sub(r'"(id|tool_use_id|file_id|retrieved_at)": "[^"]*"', r'"\1": ""', json.dumps(dumped)))


def kinds(message: Any) -> list[str]:
    return [block.type for block in message.content]


def again(asked: Any, message: Any, text: str, **more: Any) -> Any:
    """What comes of the conversation with this reply in it, as the SDK gave it."""
    history = [*asked["messages"], {"role": "assistant", "content": message.content}]
    return client.beta.messages.create(**{**asked, "messages": [*history, {"role": "user", "content": text}], **more})


@check()
def web_search_and_fetch() -> None:
    asked = ask("Look up bees with both tools", SEARCH, FETCH)
    message = replied(asked)
    assert kinds(message) == [
        *("text", "server_tool_use", "web_search_tool_result"),
        *("text", "server_tool_use", "web_fetch_tool_result", "text"),
    ], message
    found, fetched = message.content[2].content, message.content[5].content
    assert (found[0].title, found[0].type) == ("On bees", "web_search_result")
    assert found[0].encrypted_content
    assert "fifty thousand" in fetched.content.source.data
    used = message.usage.server_tool_use
    assert (used.web_search_requests, used.web_fetch_requests) == (1, 1), message.usage
    assert again(asked, message, "Sure?").usage.cache_read_input_tokens > message.usage.iterations[-1].input_tokens


@check()
def search_that_the_last_versions_declare() -> None:
    for version in ("web_search_20260209", "web_search_20250305"):
        message = client.beta.messages.create(**ask("Look up bees", {"type": version, "name": "web_search"}, FETCH))
        assert message.content[-1].type == "text", message


@check()
def code_execution() -> None:
    asked = ask("Compute six times seven", CODE)
    message = replied(asked)
    assert kinds(message)[1::2] == [
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
    ], message
    python, bash, editor = (block.content for block in message.content[1::2])
    if not SANDBOX:
        assert {each.error_code for each in (python, bash, editor)} == {"unavailable"}
        return
    assert (python.stdout, python.return_code) == ("42\n", 0), python
    assert (bash.stdout, bash.return_code) == ("42\n", 0), bash
    assert editor.content == "42\n", editor
    assert client.beta.files.download(bash.content[0].file_id).read() == b"42\n"
    later = again(asked, message, "Where is the file?", container=message.container.id)
    assert later.content[1].content.stdout == "42\n", later
    assert later.container.id == message.container.id


@check()
def tool_search_in_a_runner() -> None:
    """The server finds the deferred tool, the SDK runs it."""
    deferred = anthropic.beta_tool(get_weather.func, defer_loading=True)
    runner = client.beta.messages.tool_runner(**ask("Find the weather tool", FIND, deferred))
    replies = [kinds(message) for message in runner]
    assert replies == [["server_tool_use", "tool_search_tool_result", "tool_use"], ["thinking", "text"]], replies
    assert runner.until_done().content[-1].text == "It is 21 degrees there."
    assert requests()[-2]["body"]["tools"][1]["defer_loading"] is True


@check()
def search_in_a_runner() -> None:
    """A message may call the server first and then the client; streamed and whole."""
    expected = [["server_tool_use", "web_search_tool_result", "tool_use"], ["thinking", "text"]]
    asked = ask("Search, then ask for the weather", SEARCH, get_weather)
    assert [kinds(message) for message in client.beta.messages.tool_runner(**asked)] == expected
    streams = client.beta.messages.tool_runner(**asked, stream=True)
    replies = []
    for stream in streams:
        for _ in stream:
            pass
        replies.append(kinds(stream.get_final_message()))
    assert replies == expected, replies


@check()
def memory() -> None:
    """A tool that the SDK runs: the server only tells the model what it is."""
    with tempfile.TemporaryDirectory(dir=os.environ["WORK"]) as folder:
        tool = BetaLocalFilesystemMemoryTool(base_path=folder)
        runner = client.beta.messages.tool_runner(**ask("Remember the word", tool))
        assert runner.until_done().content[-1].text == "I shall remember."
        (file,) = (path for path in Path(folder).rglob("word.txt"))
        assert file.read_text() == "quince\n"


if __name__ == "__main__":
    run()
