"""A real Chromium before real servers. Every page is watched: no error in its console, no request to another host."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.end_to_end.conftest import Server, serving

HERE = Path(__file__).parent
SCRIPT = HERE / "script.json"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

expect.set_options(timeout=20_000)


class Watched:
    """Pages of one test, and what they did that they should not have. `allowed` are words of expected errors."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context = context
        self.url = url
        self.allowed: tuple[str, ...] = ()
        self.troubles: list[str] = []
        self.strangers: list[str] = []

    def open(self, place: str = "/") -> Page:
        """A page at this place of the server."""
        page = self.context.new_page()
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self._said("error", str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.goto(self.url + place)
        return page

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not any(word in text for word in self.allowed):
            self.troubles.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url + "/", "data:", f"blob:{self.url}/")):
            self.strangers.append(url)


def launched(playwright: Playwright) -> Browser:
    """This machine's Chromium, with a new and empty profile; skips the test where there is none, and says so."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("there is no chromium here: install it (apt-get install chromium) to test the console")
    return playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The browser. While it is open an event loop runs in this thread, so it is closed before the tests of another
    folder, which bring their own."""
    with sync_playwright() as playwright:
        browser = launched(playwright)
        yield browser
        browser.close()


@contextmanager
def watched(browser: Browser, url: str, **options: Any) -> Iterator[Watched]:
    options = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce", **options}
    context = browser.new_context(**options)
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=url)
    watching = Watched(context, url)
    yield watching
    context.close()
    assert not watching.troubles
    assert not watching.strangers


@pytest.fixture(scope="package")
def scripted(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model that says what the script beside this file wants, and thinks."""
    with serving(tmp_path_factory.mktemp("scripted"), f"scripted+{SCRIPT}") as server:
        yield server


@pytest.fixture(scope="package")
def real(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The default model in the embedded engine."""
    with serving(tmp_path_factory.mktemp("real")) as server:
        yield server


@pytest.fixture
def watching(browser: Browser, scripted: Server) -> Iterator[Watched]:
    """Pages of the scripted server."""
    with watched(browser, scripted.url) as found:
        yield found


@pytest.fixture
def page(watching: Watched) -> Page:
    """A page of the scripted server."""
    return ready(watching.open())


def ready(page: Page) -> Page:
    """The page, once it knows the models."""
    expect(page.get_by_label("Model", exact=True)).not_to_have_value("")
    return page


def say(page: Page, text: str) -> None:
    """Send a message and wait until its reply is over."""
    before = page.locator(".turn.assistant").count()
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    settled(page, before + 1)


def settled(page: Page, replies: int) -> None:
    """Wait until there are so many replies and none is running."""
    expect(page.locator(".turn.assistant")).to_have_count(replies)
    expect(page.locator(".composer .send")).not_to_contain_text("Stop", timeout=120_000)


def kept(page: Page, words: str) -> None:
    """Wait until these words are in what the browser keeps of the conversations."""
    read = """() => new Promise((resolve) => {
        const opening = indexedDB.open("antiphon");
        opening.onsuccess = () => {
            const all = opening.result.transaction("bodies").objectStore("bodies").getAll();
            all.onsuccess = () => resolve(JSON.stringify(all.result));
        };
    })"""
    for _ in range(400):
        if words in page.evaluate(read):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{words} is not kept")


def sent(page: Page, act: Callable[[], object], path: str = "/v1/messages") -> dict[str, Any]:
    """The body of the request that an act makes the page send."""
    with page.expect_request(lambda request: request.url.endswith(path) and request.method == "POST") as waiting:
        act()
    body: dict[str, Any] = waiting.value.post_data_json
    return body


def ran(command: list[str], **options: Any) -> str:
    """What a program prints that ends well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
