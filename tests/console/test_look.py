"""How the console looks, wide and narrow, light and dark: readable, labelled, reachable, nothing cut off.

With `CONSOLE_SHOTS=folder` each state is also kept as a picture, to be looked at.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.conftest import ready, say, settled, watched
from tests.end_to_end.conftest import Server

pytestmark = pytest.mark.xdist_group("console")

AUDIT = (Path(__file__).parent / "audit.js").read_text("utf-8")
SIZES = {"wide": {"width": 1360, "height": 860}, "narrow": {"width": 390, "height": 844}}


class Look:
    """A page that is audited in one state after the other."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name

    def at(self, state: str) -> None:
        """The page is in this state; nothing is wrong with it."""
        folder = os.environ.get("CONSOLE_SHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{state}-{self.name}.png")
        # The script has comments before its function.
        assert self.page.evaluate(AUDIT[AUDIT.index("() =>") :]) == [], state


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_can_be_read(browser: Browser, scripted: Server, size: str, scheme: str) -> None:
    """From the empty page to an error: contrast, names, sizes, ids, and no scrolling sideways."""
    with watched(browser, scripted.url, viewport=SIZES[size], color_scheme=scheme) as watching:
        watching.allowed = ("status of 500",)
        page = ready(watching.open())
        look = Look(page, f"{size}-{scheme}")
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 26)"
        assert dark == (scheme == "dark")
        look.at("welcome")
        page.get_by_role("button", name="Have it call a tool").click()
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Use of tools").select_option("tool")
        page.get_by_label("Temperature").fill("hot")
        look.at("settings")
        page.get_by_label("Use of tools").select_option("")
        page.get_by_label("Temperature").fill("")
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Message", exact=True).press("Control+Enter")
        settled(page, 1)
        look.at("calls")
        page.get_by_label("The tool failed").nth(1).check()
        page.get_by_label("Result of get_weather").nth(0).press("Control+Enter")
        settled(page, 2)
        look.at("reply")
        page.locator(".thinking summary").last.click()
        page.get_by_role("button", name="Prompt", exact=True).last.click()
        expect(page.locator(".prompt .control").first).to_be_visible()
        look.at("prompt")
        page.get_by_label("Token ids").check()
        look.at("ids")
        page.get_by_role("button", name="Live").click()
        expect(page.locator(".gauge polyline")).to_have_count(6)
        expect(page.locator("article.card")).to_be_visible()
        look.at("live")
        page.get_by_role("button", name="Live").click()
        page.get_by_role("button", name="Events").last.click()
        look.at("events")
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="More").click()
        look.at("menu")
        page.get_by_role("menuitem", name="Keyboard").click()
        look.at("keyboard")
        page.get_by_role("button", name="Close").click()
        say(page, "Fail after some words")
        look.at("failure")
        page.locator(".failure").get_by_role("button", name="Try again").click()
        settled(page, 3)
        page.get_by_role("button", name="Retry with").last.click()
        look.at("again")
        page.get_by_role("button", name="Cancel").click()
        look.at("versions")
        page.get_by_role("button", name="Conversations").click()
        expect(page.locator("#history .open")).to_have_count(1)
        look.at("conversations")


def test_the_audit_finds_what_is_wrong(browser: Browser, scripted: Server) -> None:
    """Pale text, a button without a name, a field without a label, something beyond the edge: each is told."""
    with watched(browser, scripted.url) as watching:
        page = ready(watching.open())
        page.evaluate(
            """() => {
                const put = (tag, more) => document.querySelector(".welcome").append(
                    Object.assign(document.createElement(tag), more));
                const pale = Object.assign(document.createElement("p"), {textContent: "pale"});
                pale.style.color = "#aaa";
                document.querySelector(".welcome").prepend(pale);
                put("button", {type: "button"});
                put("input", {id: "main"});
                put("p", {textContent: "wide"});
                document.querySelector(".welcome").lastChild.style.width = "200vw";
            }"""
        )
        troubles = "\n".join(page.evaluate(AUDIT[AUDIT.index("() =>") :]))
    for word in ("“pale”", "no name: <button", "no name: <input", "two of main", "beyond the edge: <p"):
        assert word in troubles


def test_a_divergence_is_pointed_at(browser: Browser, scripted: Server) -> None:
    """Where a changed system prompt parts the prompt from the one before it, the inspector shows the place."""
    with watched(browser, scripted.url) as watching:
        page = ready(watching.open())
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("System prompt").fill("Be brief.")
        say(page, "Hi")
        page.get_by_label("System prompt").fill("Be lengthy.")
        say(page, "And?")
        page.locator(".turn.assistant").nth(1).get_by_role("button", name="Prompt").click()
        expect(page.locator(".parted")).to_contain_text("the system prompt changed")
        here = page.locator(".prompt .here")
        expect(here).to_have_count(1)
        assert here.evaluate("node => node.nextElementSibling.textContent").startswith("lengthy.")
        Look(page, "wide-light").at("parted")


def test_focus_is_always_seen(browser: Browser, scripted: Server) -> None:
    """Going through the page by the Tab key, whatever has the focus shows it, and everything is reached."""
    with watched(browser, scripted.url) as watching:
        page = ready(watching.open())
        say(page, "Hi")
        page.evaluate("document.activeElement.blur()")
        reached = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            name, seen = page.evaluate(
                """() => {
                    const node = document.activeElement, style = getComputedStyle(node);
                    const ring = (one) => one.outlineStyle !== "none" && parseFloat(one.outlineWidth) >= 1;
                    const box = node.closest(".composer");
                    const boxed = box && getComputedStyle(box).boxShadow !== "none";
                    const opaque = node.checkVisibility({opacityProperty: true});
                    const name = node.getAttribute("aria-label") || node.textContent.trim();
                    return [name, node === document.body || (opaque && (ring(style) || Boolean(boxed)))];
                }"""
            )
            assert seen, name
            reached.add(name)
        wanted = {
            "Model",
            "Settings",
            "Prompt",
            "Live",
            "New conversation",
            "More",
            "Edit",
            "Ask again",
            "Events",
            "Retry",
        }
        assert wanted | {"Message", "Attach pictures or documents"} <= reached


def test_colours_can_be_chosen(browser: Browser, scripted: Server) -> None:
    """Against what the system prefers, and kept for the next time."""
    with watched(browser, scripted.url, color_scheme="light") as watching:
        page = ready(watching.open())
        page.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Use dark colours").click()
        for _ in range(2):
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 26)"
            page.reload()
            ready(page)
