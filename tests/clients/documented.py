"""The lines of docs/clients.md, run as they stand in the environments of the programs. Only the address is another."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import Block, blocks

PAGE = "clients.md"


def lines_for(name: str, kind: str) -> list[Block]:
    """The blocks that are said to run in the environment of a program, against this kind of server."""
    found = []
    for block in blocks(PAGE):
        programs, _, kinds = block.note.removeprefix("runs in:").partition("on:")
        if name in programs.split() and (not kinds.strip() or kind in kinds.split()):
            found.append(block)
    return found


def failures(name: str, kind: str, home: Path, url: str, environment: Mapping[str, str], python: str) -> list[str]:
    """What went wrong with the lines for a program, whose packages are in `home`; `python` is its interpreter."""
    wrong = []
    for block in lines_for(name, kind):
        code = block.code.replace("http://127.0.0.1:8000", url)
        # Node looks for packages beside the file.
        file = home / {"python": "documented.py", "js": "documented.mjs", "sh": "documented.sh"}[block.language]
        file.write_text(code, "utf-8")
        command = {"python": [python], "js": ["node"], "sh": ["sh", "-e"]}[block.language]
        done = subprocess.run(
            [*command, str(file)], env=environment, capture_output=True, text=True, timeout=180, check=False
        )
        if done.returncode or not done.stdout.strip():
            said = (done.stdout + done.stderr)[-500:]
            wrong.append(f"the lines of {PAGE} ended with {done.returncode}: {said}")
    return wrong
