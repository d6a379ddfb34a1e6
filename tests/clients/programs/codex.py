"""The command line of Codex: plain replies, and a loop of its own shell tool that edits a file and runs its test."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from checks import URL, check, raised, requests, run

WORK = Path(os.environ["WORK"])
HOME = Path(os.environ["HOME"])
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PROVIDER = {
    "model": "local-model",
    "model_provider": "local",
    "model_providers.local": {"name": "Local", "base_url": f"{URL}/v1", "wire_api": "responses", "env_key": "KEY"},
}


def toml(value: Any) -> str:
    """A value as TOML, which writes strings as JSON does."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


def codex(*arguments: str, folder: Path = WORK) -> tuple[str, list[dict[str, Any]]]:
    """What it said, and what it asked for."""
    told = [word for name, value in PROVIDER.items() for word in ("-c", f"{name}={toml(value)}")]
    return ran("codex", *told, "exec", "--skip-git-repo-check", *arguments, folder=folder)


def launched(*arguments: str, folder: Path = WORK) -> tuple[str, list[dict[str, Any]]]:
    """The same, told by `antiphon launch` where the server is and what it serves."""
    launch = [sys.executable, "-m", "antiphon", "launch", "codex", "--url", URL, "--"]
    return ran(*launch, "exec", "--skip-git-repo-check", *arguments, folder=folder)


def ran(*command: str, folder: Path = WORK) -> tuple[str, list[dict[str, Any]]]:
    since = len(requests())
    done = subprocess.run(
        command,
        env={**os.environ, "KEY": "dummy"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    entries = requests(since)
    assert done.returncode == 0, done.stdout + done.stderr
    posts = [entry for entry in entries if entry["path"].startswith("/v1/responses")]
    assert posts, done.stdout + done.stderr
    assert all(entry["status"] == 200 for entry in posts), posts
    assert all(entry["body"]["stream"] is True for entry in posts)
    return done.stdout, posts


@check("scripted")
def text() -> None:
    said, posts = codex("Hello")
    assert "Hello from the script." in said, said
    assert len(posts) == 1, len(posts)


@check("scripted")
def edit_and_test() -> None:
    folder = WORK / "codex"
    folder.mkdir()
    (folder / "sum.py").write_text("def add(a, b):\n    return a - b\n")
    (folder / "test_sum.py").write_text(
        "import unittest\nfrom sum import add\n\n\nclass T(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
    )
    said, posts = codex(
        "--dangerously-bypass-approvals-and-sandbox", "Mend sum.py so that its test passes", folder=folder
    )
    assert "It adds now, and the test passes." in said, said
    assert (folder / "sum.py").read_text() == "def add(a, b):\n    return a + b\n"
    assert len(posts) == 3, len(posts)
    # Its own thinking comes back sealed.
    items = posts[1]["body"]["input"]
    assert any(item["type"] == "reasoning" and item["encrypted_content"] for item in items), items


@check("scripted")
def resumed() -> None:
    codex("Hello, and remember the word quince.")
    said, posts = codex("resume", "--last", "Hello again")
    assert "Hello from the script." in said, said
    messages = [item for item in posts[0]["body"]["input"] if item["type"] == "message"]
    told = json.dumps(messages)
    assert "remember the word quince" in told, told
    assert any(item["role"] == "assistant" for item in messages), told


@check("scripted")
def events_as_json() -> None:
    said, _ = codex("--json", "Hello")
    events = [json.loads(line) for line in said.splitlines()]
    texts = [event["item"]["text"] for event in events if event.get("item", {}).get("type") == "agent_message"]
    assert [text.startswith("Hello from the script.") for text in texts] == [True], events
    assert events[-1]["type"] == "turn.completed", events
    assert events[-1]["usage"]["input_tokens"] > 0, events
    assert events[-1]["usage"]["output_tokens"] > 0, events


@check("scripted")
def web_search() -> None:
    said, posts = codex("--json", "-c", 'web_search="live"', "Seek bees")
    assert "They fly from flower to flower." in said, said
    assert '"web_search"' in said, said
    assert len(posts) == 1, len(posts)


@check("scripted")
def picture() -> None:
    file = WORK / "pixel.png"
    file.write_bytes(base64.b64decode(PIXEL))
    told = str(raised(AssertionError, lambda: codex("-i", str(file), "--", "Hello")))
    assert "this model has no vision" in told, told


@check("scripted")
def launched_text() -> None:
    said, posts = launched("Hello")
    assert "Hello from the script." in said, said
    assert [post["body"]["model"] for post in posts] == ["local-model"]
    assert not (HOME / ".codex" / "config.toml").exists()


@check("scripted")
def patched() -> None:
    folder = WORK / "patched"
    folder.mkdir()
    (folder / "sum.py").write_text("def add(a, b):\n    return a - b\n")
    said, posts = launched("--dangerously-bypass-approvals-and-sandbox", "Patch sum.py", folder=folder)
    assert "It is patched." in said, said
    assert (folder / "sum.py").read_text() == "def add(a, b):\n    return a + b\n"
    assert len(posts) == 2, len(posts)


@check("real")
def real_text() -> None:
    # Its own prompt is longer than the window of the small model, and would have it ramble.
    terse = WORK / "terse.md"
    terse.write_text("Answer with one word.")
    fewer = [word for tool in ("multi_agent", "goals", "shell_tool", "plugins") for word in ("--disable", tool)]
    said, posts = codex(*fewer, "-c", f"model_instructions_file={toml(str(terse))}", "Say hello.")
    assert said.strip()
    assert all(post["body"]["tools"] for post in posts)


if __name__ == "__main__":
    run()
