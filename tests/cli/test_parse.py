"""`antiphon parse`: raw outputs in, the API's content out, by the server's own code."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from antiphon.cli import main

TOOLS = [
    {"name": "f", "description": "F", "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}}}
]
RAW = 'Hm.\n</think>\n\nHi<tool_call>\n{"name":"f","arguments":{"x":  1}}\n</tool_call>'
MEANT = [("thinking", "Hm."), ("text", "Hi"), ("tool_use", {"x": 1})]


def meaning(line: str) -> list[tuple[str, object]]:
    blocks = json.loads(line)["content"]
    return [(b["type"], b.get("thinking") or b.get("text") or b["input"]) for b in blocks]


def run(*arguments: str, given: str) -> list[str]:
    done = CliRunner().invoke(main, ["parse", *arguments], input=given)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def test_an_output_gives_a_line(tmp_path: Path) -> None:
    """An output on standard input gives one line, its arguments spaced as the model wrote them."""
    tools = tmp_path / "tools.json"
    tools.write_text(json.dumps(TOOLS))
    (line,) = run("--tool-call-parser", "hermes", "--prompt-tail", "<think>\n", "--tools", str(tools), given=RAW)
    assert meaning(line) == MEANT
    assert '"input":{"x":  1}' in line
    assert json.loads(line)["stop_reason"] == "tool_use"


def test_each_line_gives_a_line() -> None:
    """Lines of JSON give a line each, in order."""
    lines = [{"raw": RAW, "tools": TOOLS, "prompt_tail": "<think>\n"}, {"raw": "Just text."}]
    given = "\n".join(map(json.dumps, lines))
    first, second = run("--jsonl", "--tool-call-parser", "qwen25", "--reasoning-parser", "qwen3", given=given)
    assert meaning(first) == MEANT
    assert json.loads(second) == {"content": [{"type": "text", "text": "Just text."}], "stop_reason": "end_turn"}


def test_mistakes_are_told() -> None:
    """An unknown parser and a line that is no JSON are told in a sentence."""
    for arguments, given, told in (
        (["--tool-call-parser", "nonsense"], "x", "unknown tool call parser 'nonsense'"),
        (["--jsonl"], '{"raw": "x"}\n{"raw"', "line 2"),
    ):
        done = CliRunner().invoke(main, ["parse", *arguments], input=given)
        assert done.exit_code == 1
        assert told in done.output
