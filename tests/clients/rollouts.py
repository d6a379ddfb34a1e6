"""`make rollouts`: coding assistants, unmodified, as rollouts of twenty turns, recorded, exported, and read back.

Claude Code and opencode use their own tools on a script's word, against a server that records. What is exported of each
must be one trajectory that has every token that was sampled, once; TRL, from JSON lines, and verl, from Parquet, must
learn from exactly these. Both are in an environment of their own, `.trainers`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from antiphon.trajectories.recorder import conversations, rewards
from antiphon.trajectories.shapes import rows
from tests.clients.run import HERE, ROOT, alone, install
from tests.end_to_end.conftest import serving

TURNS = 20
PACKAGES = ("torch", "trl==1.16.0", "verl==0.9.1", "cachetools", "fastapi", "uvicorn")
"""The last three are what verl imports without saying so."""
TRAINERS = ROOT / ".trainers"
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "256",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
}


class Rollout(NamedTuple):
    """What came of one assistant: its turns and their tokens, and how its side requests and breaks were told."""

    label: str
    turns: int
    sampled: int
    others: int
    broken: list[str]


def script(note: Path) -> dict[str, Any]:
    """Nineteen calls of the assistant's tool that reads a file, and an answer."""

    def call(tool: str, argument: str) -> str:
        said = json.dumps({"name": tool, "arguments": {argument: str(note)}})
        return f"<think>\nOnce more.\n</think>\n\nI look.\n<tool_call>\n{said}\n</tool_call>"

    return {
        "rules": [
            {"when": rf"(?s)(<tool_response>.*){{{TURNS - 1}}}", "text": "It says quince, every time."},
            {"when": r'"name": "Read"', "text": call("Read", "file_path")},
            {"when": r'"name": "read"', "text": call("read", "filePath")},
            {"text": "A title."},
        ]
    }


def claude_code(url: str, home: Path) -> tuple[list[str], dict[str, str]]:
    """Its command and its environment."""
    environment = {
        **QUIET,
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": "any",
        "ANTHROPIC_MODEL": "default",
        "ANTHROPIC_SMALL_FAST_MODEL": "default",
        "ANTHROPIC_CUSTOM_HEADERS": "x-antiphon-label: claude-code",
    }
    return ["claude", "-p", "Read the note twenty times", "--tools", "Read"], environment


def opencode(url: str, home: Path) -> tuple[list[str], dict[str, str]]:
    """Its command, and the file that it reads."""
    provider = {
        "npm": "@ai-sdk/anthropic",
        "name": "Local",
        "options": {"baseURL": f"{url}/v1", "apiKey": "any", "headers": {"x-antiphon-label": "opencode"}},
        "models": {"default": {"name": "Local", "tool_call": True, "limit": {"context": 200_000, "output": 256}}},
    }
    settings = home / ".config" / "opencode" / "opencode.json"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"provider": {"local": provider}, "autoupdate": False, "share": "disabled"}))
    return ["opencode", "run", "-m", "local/default", "Read the note twenty times"], {}


ASSISTANTS = {"claude-code": claude_code, "opencode": opencode}


def roll_out(name: str, url: str, work: Path, programs: Path) -> None:
    """Run an assistant to its end."""
    home, folder = work / name, programs / name
    home.mkdir()
    command, environment = ASSISTANTS[name](url, home)
    path = f"{folder / 'node_modules' / '.bin'}:{folder / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        command,
        env={"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", **environment},
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode or "quince" not in done.stdout + done.stderr:
        raise SystemExit(f"{name} ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")


def reward(url: str, label: str) -> None:
    """As a trainer gives it."""
    body, headers = b'{"reward": 0.5}', {"content-type": "application/json"}
    asked = urllib.request.Request(f"{url}/v1/trajectories/{label}/reward", body, headers)
    urllib.request.urlopen(asked, timeout=60).close()


def judged(record: Path, label: str) -> Rollout:
    """The rollout of an assistant, which must be whole. Raises SystemExit."""
    trees = [tree for tree in conversations(record).values() if tree.nodes[0].line.label == label]
    found = list(rows({str(number): tree for number, tree in enumerate(trees)}, {}, "verl"))
    main = max(found, key=lambda row: len(row["message_ids"]))
    nodes = {node.line.message: node for tree in trees for node in tree.nodes}
    given = [id for message in main["message_ids"] for id in nodes[message].line.output]
    own = [id for id, mine in zip(main["response_ids"], main["response_mask"], strict=True) if mine]
    if own != given or len(main["message_ids"]) != TURNS:
        raise SystemExit(f"{label}: {len(main['message_ids'])} turns, {len(own)} of {len(given)} tokens in one row")
    return Rollout(label, len(main["message_ids"]), len(own), len(found) - 1, [each for each in main["broken"] if each])


def export(record: Path, file: Path, shape: str) -> Path:
    """The file, which the command has made."""
    command = [sys.executable, "-m", "antiphon", "trajectories", "export", str(record), str(file), "--shape", shape]
    subprocess.run(command, check=True)
    return file


def read_back(record: Path, work: Path) -> None:
    """Let the trainers read what was exported. Raises SystemExit where they would learn anything else."""
    files = export(record, work / "trl.jsonl", "trl"), export(record, work / "verl.parquet", "verl")
    told = subprocess.run([trainers(), HERE / "read_back.py", *files], check=True, capture_output=True)
    learnt = json.loads(told.stdout.splitlines()[-1])
    found = list(rows(conversations(record), rewards(record), "verl"))
    for row, by_trl, (by_verl, logprobs, given) in zip(found, learnt["trl"], learnt["verl"], strict=True):
        mask = row["response_mask"]
        own = [id for id, mine in zip(row["response_ids"], mask, strict=True) if mine]
        scores = [score for score, mine in zip(row["response_logprobs"], mask, strict=True) if mine]
        alike = all(math.isclose(one, other, abs_tol=1e-6) for one, other in zip(scores, logprobs, strict=True))
        if not (own == by_trl == by_verl and alike and given == (row["reward_score"] or 0)):
            raise SystemExit(f"a trajectory of {row['label']!r} was read as another")
    count = sum(map(len, learnt["trl"]))
    print(f"TRL and verl read {len(found)} trajectories, and learn from {count} tokens: those that were sampled")


def trainers() -> Path:
    """The interpreter of the environment that has TRL and verl, which is made if it is not there."""
    interpreter = TRAINERS / "bin" / "python"
    if not (TRAINERS / "lib").exists():
        print(f"installing {' '.join(PACKAGES)}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(TRAINERS)], check=True)
        subprocess.run([interpreter, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return interpreter


def run(work: Path, programs: Path) -> None:
    """Both assistants, their records, and what trainers make of these."""
    note, record = work / "note.txt", work / "record"
    note.write_text("The word is quince.\n")
    (work / "script.json").write_text(json.dumps(script(note)))
    with serving(work, f"scripted+{work / 'script.json'}", "--record", str(record)) as server:
        for name in ASSISTANTS:
            roll_out(name, server.url, work, programs)
            reward(server.url, name)
    for name in ASSISTANTS:
        print(judged(record, name), flush=True)
    read_back(record, work)


def main() -> int:
    """The command."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    arguments.add_argument("--folder", type=Path, default=ROOT / ".clients" / "programs", help="where to install")
    arguments.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.inside:
        run(given.inside, given.folder.resolve())
        return 0
    for name in ASSISTANTS:
        install(name, given.folder)
    trainers()
    with alone() as enter, tempfile.TemporaryDirectory() as work:
        if not enter:
            print("no network namespace can be made, and assistants are not run without one")
            return 1
        command = [*enter, sys.executable, "-m", "tests.clients.rollouts", "--inside", work]
        return subprocess.run([*command, "--folder", str(given.folder)], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
