"""opencode: a loop of its own read tool, in streams only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from checks import URL, check, requests, run

WORK = Path(os.environ["WORK"])
HOME = Path(os.environ["HOME"])


def opencode(*arguments: str, package: str = "@ai-sdk/anthropic") -> tuple[str, list[dict[str, Any]]]:
    """What it said, and the messages it asked for that have tools (the others make titles). The package is what it
    speaks with."""
    settings = HOME / ".config" / "opencode" / "opencode.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    limit = {"context": 200_000, "output": 256}
    provider = {
        "npm": package,
        "name": "Local",
        "options": {"baseURL": f"{URL}/v1", "apiKey": "dummy"},
        "models": {"local-model": {"name": "Local", "tool_call": True, "reasoning": True, "limit": limit}},
    }
    settings.write_text(json.dumps({"provider": {"local": provider}, "autoupdate": False, "share": "disabled"}))
    return ran("opencode", "run", "-m", "local/local-model", *arguments)


def launched(*arguments: str) -> tuple[str, list[dict[str, Any]]]:
    """The same, told by `antiphon launch` where the server is and what it serves, without a file."""
    shutil.rmtree(HOME / ".config" / "opencode", ignore_errors=True)
    return ran(sys.executable, "-m", "antiphon", "launch", "opencode", "--url", URL, "--", "run", *arguments)


def ran(*command: str) -> tuple[str, list[dict[str, Any]]]:
    since = len(requests())
    done = subprocess.run(
        command, cwd=WORK, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False
    )
    entries = requests(since)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(entry["status"] == 200 for entry in entries), entries
    posts = [entry for entry in entries if entry["path"].startswith(("/v1/messages", "/v1/responses"))]
    assert all(entry["body"]["stream"] is True for entry in posts)
    return done.stdout + done.stderr, [entry for entry in posts if entry["body"].get("tools")]


@check("scripted")
def launched_read_loop() -> None:
    said, posts = launched("Open note.txt and tell me its word")
    assert "The word in the file is quince-4711." in said, said
    assert [post["body"]["model"] for post in posts] == ["local-model"] * 2
    assert not (HOME / ".config" / "opencode" / "opencode.json").exists()


@check("scripted")
def read_loop() -> None:
    said, posts = opencode("Open note.txt and tell me its word")
    assert "The word in the file is quince-4711." in said, said
    assert len(posts) == 2, len(posts)
    assert "quince-4711" in json.dumps(posts[1]["body"]["messages"])


@check("scripted")
def read_loop_by_responses() -> None:
    said, posts = opencode("Open note.txt and tell me its word", package="@ai-sdk/openai")
    assert "The word in the file is quince-4711." in said, said
    assert [post["path"] for post in posts] == ["/v1/responses"] * 2


@check("scripted")
def text() -> None:
    said, posts = opencode("Hello")
    assert "Hello from the script." in said, said
    assert len(posts) == 1, len(posts)


if __name__ == "__main__":
    run()
