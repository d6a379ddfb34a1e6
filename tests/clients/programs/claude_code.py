"""The command line of Claude Code: loops of its own tools, its context and error handling. It hides a bad stream by
asking again without one, and exits with 0; so the log is looked at: one stream for each turn, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from checks import KIND, URL, check, requests, run, streams

WORK = Path(os.environ["WORK"])
SCRIPTED, REAL = "scripted", "real"
QUIET = {
    "ANTHROPIC_BASE_URL": URL,
    "ANTHROPIC_MODEL": "local-model",
    "ANTHROPIC_SMALL_FAST_MODEL": "local-model",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "256",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_AUTOUPDATER": "1",
    "NODE_EXTRA_CA_CERTS": str(WORK / "site.pem"),
}
TERSE = ("--system-prompt", "You are terse.")
WORD = "The word in the file is quince-4711."


class Ran:
    """One run of the program: what it printed and what it asked the server. `launched` leaves all that it must be
    told to `antiphon launch`."""

    def __init__(self, *arguments: str, key: str = "ANTHROPIC_AUTH_TOKEN", launched: bool = False) -> None:
        since = len(requests())
        launch = [sys.executable, "-m", "antiphon", "launch", "claude", "--url", URL, "--max-tokens", "256", "--"]
        start = launch if launched else ["claude"]
        done = subprocess.run(
            [*start, "-p", *arguments],
            env=dict(os.environ) if launched else {**os.environ, **QUIET, key: "dummy"},
            cwd=WORK,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        self.status, self.said, self.complained = done.returncode, done.stdout.strip(), done.stderr
        self.entries = requests(since)
        self.posts = [entry for entry in self.entries if entry["method"] == "POST"]
        self.turns = streams(self.entries)

    def __str__(self) -> str:
        entries = [(e["method"], e["path"], e.get("status")) for e in self.entries]
        return f"{self.status} {self.said!r} {self.complained!r} {entries} {self.turns}"

    def succeeded(self, turns: int, *, said: str = "") -> None:
        """It exited with 0, asked for exactly so many streams, all good, and for nothing not streamed."""
        assert self.status == 0, self
        assert said in self.said, self
        assert self.turns == [True] * turns, self
        assert all(entry["status"] == 200 and entry["whole"] for entry in self.posts), self


def usage(entry: dict[str, Any]) -> tuple[int, int]:
    """The tokens of a prompt, and how many of them the engine had computed before."""
    told = [json.loads(line[6:]) for line in entry["reply"].splitlines() if line.startswith("data: ")]
    used = next(event["usage"] for event in told if event["type"] == "message_delta")
    cached = int(used["cache_read_input_tokens"])
    return cached + int(used["input_tokens"]) + int(used["cache_creation_input_tokens"]), cached


@check(SCRIPTED)
def read_loop() -> None:
    ran = Ran("Open note.txt and tell me its word", *TERSE, "--tools", "Read")
    ran.succeeded(2, said=WORD)
    turn = ran.posts[1]["body"]["messages"]
    assert [block["type"] for block in turn[-2 if turn[-1]["role"] == "user" else -3]["content"]] == [
        "thinking",
        "text",
        "tool_use",
    ]
    assert "quince-4711" in json.dumps(turn)
    # What the second turn has in common with the first is not computed again.
    assert usage(ran.posts[1])[1] >= usage(ran.posts[0])[0]


@check(SCRIPTED)
def launched() -> None:
    """`antiphon launch claude` tells it all it needs: the server, the model for everything, the window."""
    ran = Ran("Open note.txt and tell me its word", launched=True)
    ran.succeeded(2, said=WORD)
    assert {entry["body"]["model"] for entry in ran.posts} == {"local-model"}
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS=" in ran.complained, ran
    assert {entry["body"]["max_tokens"] for entry in ran.posts} == {256}


@check()
def launched_on_its_context() -> None:
    """Launched, it knows the true window."""
    ran = Ran("/context", *TERSE, "--tools", "Read", launched=True)
    window = next(line.partition("=")[2] for line in ran.complained.splitlines() if "CONTEXT_TOKENS=" in line)
    assert ran.status == 0, ran
    assert f"{int(window) / 1000:.1f}k".replace(".0k", "k") in ran.said, ran


@check(SCRIPTED)
def read_loop_of_the_bare_agent() -> None:
    Ran("Open note.txt and tell me its word", "--bare", key="ANTHROPIC_API_KEY").succeeded(2, said=WORD)


@check(SCRIPTED)
def read_loop_with_all_tools() -> None:
    ran = Ran("Open note.txt and tell me its word")
    ran.succeeded(2, said=WORD)
    assert len(ran.posts[0]["body"]["tools"]) > 8


@check(SCRIPTED)
def two_reads_at_once() -> None:
    (WORK / "other.txt").write_text("Nothing here.\n")
    ran = Ran("Look into both notes", *TERSE, "--tools", "Read")
    ran.succeeded(2, said=WORD)
    results = [
        block
        for turn in ran.posts[1]["body"]["messages"]
        if turn["role"] == "user" and isinstance(turn["content"], list)
        for block in turn["content"]
        if block["type"] == "tool_result"
    ]
    assert len(results) == 2, results


@check(SCRIPTED)
def shell_loop() -> None:
    made = WORK / "made.txt"
    made.unlink(missing_ok=True)
    Ran("Make the file", *TERSE, "--tools", "Bash", "--allowedTools", "Bash").succeeded(2, said="It is made.")
    assert made.read_text() == "made\n"


@check(SCRIPTED)
def web_search() -> None:
    """Its search is a request of its own, whose one tool the server runs: call, results and answer in one message."""
    ran = Ran("Look up bees", *TERSE, "--tools", "WebSearch", "--allowedTools", "WebSearch")
    ran.succeeded(3, said="They fly from flower to flower.")
    (searching,) = [entry for entry in ran.posts if '"web_search_20' in json.dumps(entry["body"].get("tools"))]
    assert '"type":"web_search_tool_result"' in searching["reply"], ran
    assert '"web_search_requests":1' in searching["reply"], ran


@check(SCRIPTED)
def web_fetch() -> None:
    """Its fetch is its own: it reads the page itself, and asks the model what it says. Without a network it can ask
    nobody whether the domain is safe."""
    settings = json.dumps({"skipWebFetchPreflight": True})
    allowed = ("--tools", "WebFetch", "--allowedTools", "WebFetch", "--settings", settings)
    ran = Ran("Open the page on bees", *TERSE, *allowed)
    ran.succeeded(3, said="It says fifty thousand.")


@check(SCRIPTED)
def events_as_json() -> None:
    ran = Ran(
        "Hello", *TERSE, "--tools", "", "--output-format", "stream-json", "--verbose", "--include-partial-messages"
    )
    ran.succeeded(1)
    events = [json.loads(line) for line in ran.said.splitlines()]
    result = events[-1]
    assert (result["type"], result["is_error"], result["num_turns"]) == ("result", False, 1), result
    assert result["result"] == "Hello from the script. 😀"
    assert result["usage"]["output_tokens"] > 0
    assert any(event["type"] == "stream_event" for event in events)


@check(SCRIPTED)
def conversation_goes_on() -> None:
    Ran("Hello", *TERSE, "--tools", "").succeeded(1)
    ran = Ran("-c", "And again", *TERSE, "--tools", "")
    ran.succeeded(1)
    roles = [turn["role"] for turn in ran.posts[0]["body"]["messages"] if turn["role"] != "system"]
    assert roles == ["user", "assistant", "user"], roles


@check(SCRIPTED)
def compacting() -> None:
    Ran("Hello", *TERSE, "--tools", "").succeeded(1)
    for _ in range(2):
        Ran("-c", "And again", *TERSE, "--tools", "").succeeded(1)
    ran = Ran("-c", "/compact", *TERSE, "--tools", "")
    assert ran.status == 0, ran
    assert ran.turns, ran
    assert all(ran.turns), ran


@check(SCRIPTED)
def stream_that_breaks_off() -> None:
    """An honest error in the middle: the program asks once more, unstreamed by its own rule, and has its answer."""
    ran = Ran("Stumble once", *TERSE, "--tools", "")
    assert (ran.status, ran.said) == (0, "Up again."), ran
    assert ran.turns == [True, False], ran
    assert "event: error" in ran.posts[0]["reply"], ran


@check(SCRIPTED)
def structured_output() -> None:
    wanted = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    ran = Ran("Name it", *TERSE, "--tools", "", "--output-format", "json", "--json-schema", json.dumps(wanted))
    assert ran.status == 0, ran
    assert all(ran.turns), ran
    assert json.loads(ran.said)["structured_output"] == {"name": "Zürich"}, ran


@check()
def context() -> None:
    ran = Ran("/context", *TERSE, "--tools", "Read")
    assert ran.status == 0, ran
    assert "okens" in ran.said, ran
    counts = [entry for entry in ran.posts if "/count_tokens" in entry["path"]]
    assert counts, ran
    assert all(entry["status"] == 200 for entry in counts), ran
    assert ran.turns == [], ran


@check(REAL)
def text_of_a_real_model() -> None:
    ran = Ran("Say hello.", *TERSE, "--tools", "")
    assert ran.turns, ran
    assert all(ran.turns), ran
    # A small model may go on to its limit; then the program asks it to go on, and gives up after some more.
    assert ran.status == 0 or "output token maximum" in ran.said + ran.complained, ran
    assert all(entry["status"] == 200 for entry in ran.posts), ran


@check(REAL)
def launched_on_a_real_model() -> None:
    ran = Ran("Say hello.", *TERSE, "--tools", "", launched=True)
    assert ran.turns, ran
    assert all(ran.turns), ran
    assert ran.status == 0 or "output token maximum" in ran.said + ran.complained, ran
    assert all(entry["status"] == 200 for entry in ran.posts), ran


@check(REAL)
def prompt_is_too_long() -> None:
    ran = Ran("Say hello.")
    assert ran.status != 0, ran
    assert ran.turns == [True], ran
    message = json.loads(ran.posts[0]["reply"])["error"]["message"]
    tokens = message.split()[4]
    assert message == f"prompt is too long: {tokens} tokens > 8192 maximum"
    assert "too long" in (ran.said + ran.complained).lower(), ran


if __name__ == "__main__":
    assert KIND
    run()
