"""The page of libraries: every block says where it is run, and those that need nothing further are run here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.clients.documented import PAGE, lines_for
from tests.clients.run import ALL
from tests.docs.blocks import blocks
from tests.end_to_end.conftest import HERE, serving


def test_every_block_is_run_somewhere() -> None:
    """Each block names programs of `make programs` that it is run with, or is run below."""
    for block in blocks(PAGE):
        programs = block.note.removeprefix("runs in:").partition("on:")[0].split()
        assert programs, block.code
        assert set(programs) <= {*ALL, "here"}


def test_the_lines_that_need_nothing_further_work(tmp_path: Path) -> None:
    """The SDKs that the tests have anyway do what the page says with them."""
    with serving(tmp_path, f"scripted+{HERE / 'script.json'}") as server:
        for block in (*lines_for("here", "scripted"), *lines_for("anthropic-2", "scripted")):
            code = block.code.replace("http://127.0.0.1:8000", server.url)
            done = subprocess.run(
                [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert "Hello from the script." in done.stdout
