"""The walk-throughs: a format, an engine and a surface, and their tests, written into a copy of the repository as the
page writes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import antiphon
from tests.docs.blocks import blocks
from tests.end_to_end.conftest import serving

ROOT = Path(__file__).parents[2]
UNCOPIED = shutil.ignore_patterns("__pycache__", "node_modules")
PAGE = blocks("extending.md")
FILES = [block for block in PAGE if block.title]
SHELL = [block.code for block in PAGE if block.language == "sh"]
PYTEST = ".venv/bin/pytest "
TRIED = [code for code in SHELL if not code.startswith(PYTEST)]
TESTED = [code.removeprefix(PYTEST).split() for code in SHELL if code.startswith(PYTEST)]


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package and its tests with the files of the page in it, which `antiphon` and `python -m antiphon`
    run."""
    shutil.copytree(Path(antiphon.__file__).parent, tmp_path / "src" / "antiphon", ignore=UNCOPIED)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=UNCOPIED)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for block in FILES:
        file = tmp_path / block.title
        assert not file.exists()
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.code, "utf-8")
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
    listed, *parsed = shell(TRIED[0]).splitlines()
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
        assert shell(TRIED[1].replace("http://127.0.0.1:8000", server.url)).strip() == "user: Hello there."
        with urllib.request.urlopen(server.url + "/openapi.json", timeout=30) as response:
            assert "/v1/plain" in json.load(response)["paths"]


def test_each_is_one_file_and_one_test_file() -> None:
    """A walk-through writes one file of the package and one of the tests."""
    assert [Path(block.title).parts[0] for block in FILES] == ["src", "tests"] * 3


def test_the_tests_of_the_page_pass(extended: Path) -> None:
    """The commands that the page gives find the new tests, and these pass: here all in one run, to save time."""
    paths = [word for words in TESTED for word in words if word.startswith("tests/")]
    names = " or ".join(Path(block.title).stem for block in FILES)
    assert len(TESTED) == 3
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-k", f"angled or {names}"]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= len(FILES)


def test_what_the_page_writes_passes_the_checks(extended: Path) -> None:
    """The files are as typed and as tidy as their neighbours."""
    files = [str(extended / block.title) for block in FILES if block.language == "python"]
    config = ["--config", str(ROOT / "pyproject.toml")]
    for command in (["ruff", "check", *config, *files], ["ruff", "format", "--check", *config, *files]):
        done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
