"""The command line of the checks, and what the package may lean on."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import antiphon
import antiphon_check
from antiphon_check.command import FINE, SOME_FAILED, WRONG_USE, main
from antiphon_check.registry import LEVELS, checks

from .faults import FAULTS
from .reference import KEY, serving

FOLDER = Path(antiphon_check.__file__).parent
ROOT = Path(__file__).parents[2]


@pytest.fixture
def faulty() -> Iterator[str]:
    """A server whose event names are missing."""
    with serving(next(fault for fault in FAULTS if fault.name == "events without names")) as url:
        yield url


def test_the_package_needs_only_the_standard_library() -> None:
    """No file of it imports anything but the standard library and the package itself."""
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"antiphon_check"}
            assert not foreign, path


def test_it_runs_with_nothing_installed(tmp_path: Path) -> None:
    """The folder and the archive made of it run in a bare Python, without site packages, and end with the status."""
    archive = tmp_path / "new" / "antiphon-check.pyz"
    subprocess.run([sys.executable, str(ROOT / "check" / "build.py"), str(archive)], check=True)
    for place in (FOLDER, archive):
        bare = [sys.executable, "-I", "-S", str(place)]
        ran = subprocess.run([*bare, "--list"], capture_output=True, text=True, check=True)
        assert len(ran.stdout.splitlines()) == len(checks())
        assert subprocess.run([*bare, "nowhere"], capture_output=True, check=False).returncode == WRONG_USE


def test_it_has_the_version_of_the_server() -> None:
    """Both are released together."""
    assert antiphon_check.__version__ == antiphon.__version__


def test_a_server_that_does_not_answer_is_told_of_once(capsys: pytest.CaptureFixture[str]) -> None:
    """A hundred checks that fail of one silence are listed, and explained once."""
    with serving() as url:
        pass
    assert main([url, "--only", "basic"]) == SOME_FAILED
    said = capsys.readouterr().out
    assert said.count("FAILED") > 30
    assert said.count("what came") == 1


def test_the_status_says_whether_a_check_failed(faulty: str, capsys: pytest.CaptureFixture[str]) -> None:
    """0 where all hold, 1 where one does not, 2 for arguments that make no sense; a failure shows how to see it
    again, and keys are left out of that."""
    asked = [faulty, "--key", KEY]
    assert main([*asked, "--only", "basic.message_fields"]) == FINE
    capsys.readouterr()
    assert main([*asked, "--only", "basic.stream_*"]) == SOME_FAILED
    said = capsys.readouterr().out
    assert "FAILED basic.stream_names" in said
    assert "curl -sS" in said
    assert KEY not in said
    assert main([*asked, "--only", "basic.nothing"]) == WRONG_USE
    assert main(["nowhere"]) == WRONG_USE


def test_reports_have_every_check(faulty: str, tmp_path: Path) -> None:
    """JSON, JUnit and Markdown tell of the same checks and outcomes."""
    places = {kind: tmp_path / kind for kind in ("json", "junit", "markdown")}
    options = [word for kind, place in places.items() for word in (f"--{kind}", str(place))]
    main([faulty, "--key", KEY, "--only", "basic", *options])
    found = json.loads(places["json"].read_text("utf-8"))["checks"]
    failed = {each["id"] for each in found if each["outcome"] == "failed"}
    assert failed == {"basic.stream_names"}
    cases = list(ElementTree.parse(places["junit"]).iter("testcase"))
    assert {case.get("name") for case in cases} == {each["id"] for each in found}
    assert {case.get("name") for case in cases if case.find("failure") is not None} == failed
    assert places["markdown"].read_text("utf-8").count("| ✗ |") == 1


def test_every_check_says_why_and_where_from() -> None:
    """Each has a sentence, a reason and a source, and belongs to a level."""
    for check in checks():
        assert check.level in LEVELS
        assert all(text.strip() for text in (check.sentence, check.reason, check.source)), check.id


def test_speed_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """`--speed` measures streams at once and a growing conversation."""
    with serving() as url:
        assert main([url, "--key", KEY, "--speed"]) == FINE
    assert capsys.readouterr().out.count("\n| ") >= 7
