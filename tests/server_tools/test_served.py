"""Server tools in a server that was started from the command line: for some keys only, in a batch, and while the server
is asked to stop."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic

from antiphon.settings.keys import hashed, label
from tests.end_to_end.conftest import Server, serving

SEARCH: Any = {"type": "web_search_20250305", "name": "web_search"}
SCRIPT = {
    "rules": [
        {"when": "<tool_response>", "text": "They fly."},
        {
            "when": "web_search",
            "text": '<tool_call>\n{"name": "web_search", "arguments": {"query": "bees"}}\n</tool_call>',
        },
        {"text": "I do not know."},
    ]
}
PROGRAM = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / "begun").touch()
while (folder / "wait").exists():
    time.sleep(0.02)
print(json.dumps([{"url": "https://bees.example", "title": "On bees", "text": "They fly."}]))
"""


@contextmanager
def searching(folder: Path) -> Iterator[Server]:
    """A server for two keys, of which the first may search."""
    (folder / "script.json").write_text(json.dumps(SCRIPT))
    (folder / "search.py").write_text(PROGRAM)
    options = ["--web-search", f"command+{sys.executable} {folder / 'search.py'} {folder}"]
    options += ["--tool-key", f"web_search={label(hashed('sk-one'))}", "--api-key", "sk-one", "--api-key", "sk-two"]
    with serving(folder, f"scripted+{folder / 'script.json'}", *options) as server:
        yield server


def connected(server: Server, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key=key, max_retries=0)


def asked() -> Any:
    """A question to search for."""
    messages = [{"role": "user", "content": "Do bees fly?"}]
    return {"model": "claude-x", "max_tokens": 200, "messages": messages, "tools": [SEARCH]}


def kinds(message: anthropic.types.Message) -> list[str]:
    return [block.type for block in message.content]


ALL = ["server_tool_use", "web_search_tool_result", "text"]


def test_a_server_with_a_tool_for_one_key(tmp_path: Path) -> None:
    """The key that may has its search, alone and in a batch; for another the tool is as if it were not set up. A search
    that runs when the server is asked to stop is waited for."""
    with searching(tmp_path) as server, connected(server, "sk-one") as one, connected(server, "sk-two") as two:
        assert kinds(one.messages.create(**asked())) == ALL
        refused = two.messages.with_raw_response.create(**asked())
        assert kinds(refused.parse()) == ["text"]
        assert refused.headers["antiphon-ignored"] == "tools.web_search_20250305"
        made = one.messages.batches.create(requests=[{"custom_id": "a", "params": asked()}])
        while one.messages.batches.retrieve(made.id).processing_status != "ended":
            time.sleep(0.1)
        (result,) = one.messages.batches.results(made.id)
        message = result.result.message  # type: ignore[union-attr]
        assert kinds(message) == ALL
        assert message.usage.server_tool_use.web_search_requests == 1  # type: ignore[union-attr]
        _stopped_in_a_search(server, one, tmp_path)


def _stopped_in_a_search(server: Server, client: anthropic.Anthropic, folder: Path) -> None:
    (folder / "begun").unlink()
    (folder / "wait").touch()
    with client.messages.stream(**asked()) as stream:
        events = iter(stream)
        next(events)
        while not (folder / "begun").exists():
            time.sleep(0.02)
        server.process.send_signal(signal.SIGTERM)
        while "asked to stop" not in server.log.read_text():
            time.sleep(0.02)
        (folder / "wait").unlink()
        for _ in events:
            pass
        assert kinds(stream.get_final_message()) == ALL
    assert server.process.wait(60) == 0
