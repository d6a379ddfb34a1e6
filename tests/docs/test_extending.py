"""The walk-throughs: a format, an engine and a surface, written into a copy of the package as the page writes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import antiphon
from tests.docs.blocks import blocks
from tests.end_to_end.conftest import serving

PAGE = blocks("extending.md")
SHELL = [block.code for block in PAGE if block.language == "sh"]


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package with the files of the page in it, which `antiphon` and `python -m antiphon` run."""
    source = Path(antiphon.__file__).parent
    shutil.copytree(source, tmp_path / "src" / "antiphon", ignore=shutil.ignore_patterns("__pycache__"))
    for block in PAGE:
        if block.title:
            assert not (tmp_path / block.title).exists()
            (tmp_path / block.title).write_text(block.code, "utf-8")
    command = tmp_path / "bin" / "antiphon"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m antiphon "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(code: str) -> str:
    return subprocess.run(["sh", "-e", "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_walk_throughs_work(extended: Path) -> None:
    """The format is listed and read, the engine serves, the surface answers and is described."""
    assert len([block for block in PAGE if block.title]) == 3
    listed, *parsed = shell(SHELL[0]).splitlines()
    assert listed.startswith("angled")
    text, call = json.loads(parsed[-1])["content"]
    assert text["text"].strip() == "Let me look."
    assert (call["name"], call["input"]) == ("look", {"place": "Graz"})
    with serving(extended, "parrot+http://anywhere") as server:
        body = {"model": "default", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello there."}]}
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        request = urllib.request.Request(server.url + "/v1/messages", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            assert json.load(response)["content"][0]["text"].strip() == "user: Hello there."
        assert shell(SHELL[1].replace("http://127.0.0.1:8000", server.url)).strip() == "user: Hello there."
        with urllib.request.urlopen(server.url + "/openapi.json", timeout=30) as response:
            assert "/v1/plain" in json.load(response)["paths"]


def test_what_the_page_writes_passes_the_checks(extended: Path) -> None:
    """The files are as typed and as tidy as their neighbours."""
    files = [str(extended / block.title) for block in PAGE if block.title]
    config = ["--config", str(Path(__file__).parents[2] / "pyproject.toml")]
    for command in (["ruff", "check", *config, *files], ["ruff", "format", "--check", *config, *files]):
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
