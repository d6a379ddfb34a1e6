"""The programs that the console writes for a reply, run as they are."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.console.conftest import ran, say
from tests.end_to_end.conftest import CLIENTS

pytestmark = pytest.mark.xdist_group("console")

SAID = """Don't "quote" me: \\ $HOME `id` ü 😀"""


@pytest.fixture
def talked(page: Page) -> Page:
    """A page with a conversation of tools, tricky characters and a second turn."""
    page.get_by_role("button", name="Have it call a tool").click()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Use of tools").select_option("none")
    page.get_by_label("System prompt").fill("It's 'so'.")
    say(page, SAID)
    say(page, "And?\nA second line.")
    return page


def copied(page: Page, name: str) -> str:
    page.get_by_role("button", name="Copy as").last.click()
    page.get_by_role("menuitem", name=name).click()
    text = page.get_by_role("dialog").locator("pre").inner_text()
    assert page.evaluate("navigator.clipboard.readText()") == text
    return text


def answered(printed: str) -> bool:
    """Whether a program told the text as it came, and then the whole message."""
    told, _, message = printed.partition("\n{\n")
    said = [block["text"] for block in json.loads("{" + message)["content"] if block["type"] == "text"]
    return told.strip() == "".join(said).strip() != ""


def test_the_copied_python_runs(talked: Page, tmp_path: Path) -> None:
    """With the official SDK: it prints the reply and the whole message."""
    program = tmp_path / "ask.py"
    program.write_text(copied(talked, "Python"), "utf-8")
    assert answered(ran([sys.executable, str(program)]))


def test_the_copied_curl_command_runs(talked: Page) -> None:
    """Through a shell that would take quotes, dollars and backticks amiss."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl here")
    printed = ran(["sh", "-c", copied(talked, "curl")])
    assert "event: message_stop" in printed
    # The prompt is the same, so nearly all of it is in the cache.
    start = json.loads(printed.partition("data: ")[2].partition("\n")[0])
    assert start["message"]["usage"]["cache_read_input_tokens"] > 100


def test_the_copied_typescript_runs(talked: Page, tmp_path: Path) -> None:
    """With the official SDK, where there is one."""
    modules = CLIENTS / "node/node_modules"
    if not modules.is_dir():
        pytest.skip("the TypeScript SDK is not installed (make clients, with npm)")
    (tmp_path / "node_modules").symlink_to(modules)
    program = tmp_path / "ask.mjs"
    program.write_text(copied(talked, "TypeScript"), "utf-8")
    assert answered(ran(["node", str(program)]))
