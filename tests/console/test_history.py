"""Conversations that are kept: their list, the versions of their turns, replies that go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.console.conftest import Watched, kept, ready, say, sent, settled
from tests.console.test_page import message, taken_up, texts

pytestmark = pytest.mark.xdist_group("console")


def listed(page: Page) -> Locator:
    """The names in the list of conversations, which is shown."""
    if not page.locator("#history").is_visible():
        page.get_by_role("button", name="Conversations").click()
    return page.locator("#history .open span")


def choose(page: Page, name: str, act: str) -> None:
    page.get_by_role("button", name=f"More about {name}").click()
    page.get_by_role("menuitem", name=act).click()


def test_conversations_are_kept(page: Page, watching: Watched) -> None:
    """Each is in the list, by its first words; a reload shows the same one again, a new tab begins a new one."""
    say(page, "About the sea")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator(".welcome")).to_be_visible()
    say(page, "About the sky")
    expect(listed(page)).to_have_text(["About the sky", "About the sea"])
    page.reload()
    ready(page)
    expect(page.locator(".turn.user")).to_have_text("YouAbout the sky")
    other = ready(watching.open())
    expect(other.locator(".welcome")).to_be_visible()
    listed(other).nth(1).click()
    expect(other.locator(".turn.user")).to_have_text("YouAbout the sea")
    expect(other.locator("#history [aria-current]")).to_contain_text("About the sea")
    message(other).fill("And?")
    body = sent(other, lambda: other.keyboard.press("Enter"))
    settled(other, 2)
    assert [text for _, text in texts(body)] == ["About the sea", "Hello from the script. 😀", "And?"]
    # The other tab hears of it.
    expect(listed(page)).to_have_text(["About the sea", "About the sky"])


def test_find_rename_and_delete(page: Page) -> None:
    """By the keyboard alone: any word of a conversation finds it; a name stays; what is deleted is gone."""
    say(page, "About the sea")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator(".welcome")).to_be_visible()
    say(page, "About the sky")
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    search = page.get_by_label("Search conversations")
    expect(search).to_be_focused()
    for words, found in (("script sky", ["About the sky"]), ("nowhere", []), ("sea", ["About the sea"])):
        search.fill(words)
        expect(listed(page)).to_have_text(found)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("F2")
    page.get_by_label("Its name").fill("Waves")
    page.keyboard.press("Enter")
    search.fill("")
    expect(listed(page)).to_have_text(["About the sky", "Waves"])
    page.get_by_role("button", name="Waves", exact=False).first.focus()
    page.keyboard.press("Enter")
    # Reading it from the disk takes its time, and what is said until then belongs to the one that is shown.
    expect(page.locator(".turn.user .said")).to_have_text(["About the sea"])
    say(page, "More")
    expect(listed(page)).to_have_text(["Waves", "About the sky"])
    page.locator("#history .open").first.focus()
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(listed(page)).to_have_text(["About the sky"])
    expect(page.locator(".welcome")).to_be_visible()
    page.reload()
    ready(page)
    expect(page.locator(".welcome")).to_be_visible()


def test_every_version_of_a_turn_stays(page: Page) -> None:
    """An edited message, and a reply that was asked for again, leave what was there one step away, for good."""
    say(page, "First")
    say(page, "Second")
    page.locator(".turn.user").nth(0).get_by_role("button", name="Edit").click()
    page.get_by_label("Text of this turn").fill("Changed")
    page.get_by_role("button", name="Save and send").click()
    settled(page, 1)
    page.locator(".turn.assistant").get_by_role("button", name="Retry", exact=True).click()
    settled(page, 1)
    versions = page.locator(".versions .hint")
    expect(versions).to_have_text(["2 of 2", "2 of 2"])
    page.get_by_role("button", name="Version before").nth(0).click()
    expect(page.locator(".turn.user .said")).to_have_text(["First", "Second"])
    expect(versions).to_have_text(["1 of 2"])
    first = page.locator(".turn").first.get_attribute("id")
    kept(page, f'"first":"{first}"')
    page.reload()
    ready(page)
    expect(page.locator(".turn.user .said")).to_have_text(["First", "Second"])
    page.locator(".turn.user").nth(0).focus()
    page.keyboard.press("]")
    expect(page.locator(".turn.user .said")).to_have_text(["Changed"])
    expect(page.locator(".turn.user").nth(0)).to_be_focused()
    page.locator(".turn.user").nth(0).get_by_role("button", name="Remove").click()
    expect(page.locator(".turn.user .said")).to_have_text(["First", "Second"])
    expect(versions).to_have_count(0)


def test_ask_again_with_other_settings(page: Page) -> None:
    """For one reply: its figures tell them, the next reply has those of the conversation again."""
    say(page, "Hi")
    page.get_by_role("button", name="Retry with").click()
    page.get_by_label("Temperature").last.fill("0.3")
    page.get_by_label("Most tokens").last.fill("55")
    body = sent(page, lambda: page.get_by_role("dialog").get_by_role("button", name="Ask again").click())
    settled(page, 1)
    assert (body["temperature"], body["max_tokens"]) == (0.3, 55)
    assert texts(body) == [("user", "Hi")]
    expect(page.locator(".figures")).to_contain_text("temperature0.3")
    assert "temperature" not in sent(page, lambda: say(page, "And?"))


def test_a_stopped_reply_goes_on(page: Page) -> None:
    """What was said is sent as the beginning of the reply, and what comes is added to it, in the same turn."""
    message(page).fill("Slowly")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.assistant .prose")).to_contain_text("five")
    page.keyboard.press("Escape")
    settled(page, 1)
    before = page.locator(".turn.assistant .prose").inner_text().strip()
    body = sent(page, lambda: page.get_by_role("button", name="Continue").click())
    assert texts(body) == [("user", "Slowly"), ("assistant", before)]
    expect(page.locator(".turn.assistant .prose")).to_have_count(1)
    expect(page.locator(".turn.assistant .prose")).to_contain_text(before + "one two three")
    page.keyboard.press("Escape")
    settled(page, 1)
    assert page.locator(".turn.assistant .prose").inner_text().startswith(before)


def test_what_ran_on_the_server_is_shown_and_sent_back(page: Page, tmp_path: Path) -> None:
    """Searches, pages, code and tools of MCP servers: a sentence each, the rest folded; their blocks go back as they
    came."""
    content = json.loads((Path(__file__).parent / "rounds.json").read_text("utf-8"))
    file = tmp_path / "request.json"
    file.write_text(
        json.dumps({"messages": [{"role": "user", "content": "Look"}, {"role": "assistant", "content": content}]})
    )
    taken_up(page, file)
    expect(page.locator(".ran summary")).to_have_text(
        [
            "2 results",
            "Fetched https://example.org/a",
            "Ran, 2 lines printed",
            "Ended with 1",
            "It failed: max uses exceeded",
            "1 block",
        ]
    )
    expect(page.locator(".call.here header")).to_contain_text(["the server runsweb_search", "weather runsget_weather"])
    page.locator(".ran summary").first.click()
    links = page.locator(".ran a").evaluate_all(
        "all => all.filter((one) => one.checkVisibility()).map((one) => one.href)"
    )
    assert links == ["https://example.org/a", "https://example.org/b"]
    expect(page.locator(".cited li")).to_have_text(["A page"])
    message(page).fill("And?")
    body = sent(page, lambda: page.keyboard.press("Enter"))
    assert body["messages"][1]["content"] == content


def laid_out(page: Page) -> int:
    """How many turns the browser has laid out."""
    seen = "node => node.checkVisibility({contentVisibilityAuto: true})"
    return int(page.locator(".turn .blocks").evaluate_all(f"all => all.filter({seen}).length"))


def test_a_long_conversation_costs_what_is_seen_of_it(page: Page, tmp_path: Path) -> None:
    """Of 200 turns only those about what is in sight are laid out, at the end and at the beginning; and what is said
    next changes nothing but its own turns."""
    turns = [
        {"role": ("user", "assistant")[number % 2], "content": f"Turn {number}. " + "Some words of it. " * 40}
        for number in range(200)
    ]
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"messages": turns}))
    taken_up(page, file)
    expect(page.locator(".turn")).to_have_count(200)
    expect(page.locator(".turn").last).to_be_in_viewport()
    assert laid_out(page) < 40
    page.evaluate("document.querySelector('#thread').scrollTop = 0")
    expect(page.locator(".turn").first).to_be_in_viewport()
    page.evaluate(
        """() => {
            window.touched = new Set();
            const note = (changes) => changes.forEach(({target}) => touched.add(target.closest?.(".turn")?.id));
            const list = document.querySelector(".turns");
            new MutationObserver(note).observe(list, {childList: true, subtree: true, characterData: true});
        }"""
    )
    say(page, "Hi")
    # The two that are new, the one that was last before them, and the list itself.
    assert len(page.evaluate("[...touched]")) <= 4
    assert laid_out(page) < 40
