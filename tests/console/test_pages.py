"""The pages beside the conversation: usage and keys, as an admin and as anybody else sees them."""

from __future__ import annotations

import csv
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.keys import Allowance
from antiphon.accounts.ledger import Journal, take_over
from antiphon.accounts.usage import DAY, HOUR, Counts, Entry
from antiphon.accounts.usage_store import UsageStore
from antiphon.storage.records import Records
from tests.console.conftest import SCRIPT, watched
from tests.console.test_look import SIZES, Look
from tests.end_to_end.conftest import Server, serving

pytestmark = pytest.mark.xdist_group("console")

MODELS = ("qwen3.5-9b", "gpt-oss-20b")


class Team(NamedTuple):
    """A server of a team, the secrets of its admin and of a member, and all that was used."""

    server: Server
    admin: str
    member: str
    used: list[Entry]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    records = Records(f"sqlite:///{folder / 'team.sqlite'}")
    store = KeyStore(records)
    boss, admin = store.add("boss", admin=True)
    rights = {"models": ("scripted*",), "allowance": Allowance(requests=60, output_tokens=9000), "budget": 200_000}
    alice, member = store.add("alice", expires=time.time() + 90 * DAY, **rights)
    store.add("nightly evaluation", models=("qwen*", "gpt-oss-*"), budget=5_000_000)
    store.add("former colleague")
    store.revoke("former colleague")
    now = int(time.time()) // HOUR * HOUR
    used = [
        Entry(now - number * 5 * HOUR, (boss, alice)[number % 3 == 0].label, MODELS[number % 2], "standard", counts)
        for number in range(120)
        for counts in [Counts(1, 0, 900 + 7 * number, 0, 4000, 310 + number % 50, 0, 2500, number % 2, 0, number % 4)]
    ]
    journal = Journal(folder / "journals")
    for entry in used:
        journal.add(entry)
    journal.close()
    take_over(UsageStore(records), folder / "journals")
    records.close()
    with serving(folder, f"scripted+{SCRIPT}", "--store", f"sqlite:///{folder / 'team.sqlite'}") as server:
        yield Team(server, admin, member, used)


@contextmanager
def seen(browser: Browser, team: Team, key: str, place: str, **options: object) -> Iterator[Page]:
    """A page behind the # of the address, as whoever has this key sees it."""
    with watched(browser, team.server.url, **options) as watching:
        watching.context.add_init_script(f"sessionStorage.setItem('antiphon.key', '{key}')")
        page = watching.open(f"/#{place}")
        expect(page.locator("#page h1")).to_be_focused()
        yield page


def works(team: Team, secret: str) -> bool:
    """Whether a key is let in."""
    request = urllib.request.Request(f"{team.server.url}/v1/keys/me", headers={"x-api-key": secret})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return bool(json.load(response)["key"])
    except urllib.error.HTTPError as refused:
        return refused.code != 401


def test_usage_is_that_of_the_store(browser: Browser, team: Team, tmp_path: Path) -> None:
    """Its sums, its tables and the file that is saved say what was used, in the period, of the model and by the key
    that are chosen."""
    with seen(browser, team, team.admin, "usage") as page:
        expect(page.locator(".column")).to_have_count(30)
        expect(page.locator(".sums dd").first).to_have_text("120")
        choices = page.get_by_role("group", name="What is shown")
        choices.get_by_label("Model").select_option(MODELS[1])
        choices.get_by_label("Key").select_option("alice")
        mine = [entry.counts for number, entry in enumerate(team.used) if number % 3 == 0 and number % 2]
        expect(page.locator(".sums dd").first).to_have_text(str(len(mine)))
        row = page.get_by_role("region", name="By key").locator("tbody tr")
        expect(row).to_have_count(1)
        figures = [len(mine), 0, sum(each.input for each in mine), 0, 4000 * len(mine)]
        expect(row).to_contain_text("".join(f"{figure:,}" for figure in figures))
        with page.expect_download() as saving:
            page.get_by_role("button", name="Download CSV").click()
        file = tmp_path / "usage.csv"
        saving.value.save_as(file)
        rows = list(csv.DictReader(file.read_text().splitlines()))
        assert sum(int(row["output_tokens"]) for row in rows) == sum(each.output for each in mine)
        assert {(row["name"], row["model"]) for row in rows} == {("alice", MODELS[1])}
        choices.get_by_label("Period").select_option("1")
        expect(page.locator(".column")).to_have_count(24)
        page.get_by_label("What is drawn").select_option("requests")
        page.get_by_text("As a table").click()
        expect(page.get_by_role("region", name="Requests by hour").locator("tbody tr")).to_have_count(1)


def test_keys_are_managed_by_the_keyboard(browser: Browser, team: Team) -> None:
    """Added, with the secret shown once, changed, exchanged, revoked: each is in force, and the list says so."""
    with seen(browser, team, team.admin, "keys") as page:
        names = page.locator(".keylist h3")
        expect(names).to_have_text(["boss", "alice", "nightly evaluation"])

        def act(label: str) -> None:
            page.get_by_role("button", name="More about carol").focus()
            page.keyboard.press("Enter")
            page.get_by_role("menuitem", name=label, exact=True).press("Enter")

        def secret() -> str:
            shown = page.get_by_role("textbox", name="The key")
            expect(shown).to_be_focused()
            value = shown.input_value()
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)
            assert value not in page.content()
            return value

        page.get_by_role("button", name="Add a key").press("Enter")
        page.keyboard.type("carol")
        page.get_by_label("Output tokens a minute").fill("many")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("“many” is no whole number")
        expect(page.get_by_label("Output tokens a minute")).to_be_focused()
        page.keyboard.press("Control+a")
        page.keyboard.type("20k")
        page.keyboard.press("Enter")
        first = secret()
        carol = page.locator(".keylist li").filter(has_text="carol")
        expect(carol).to_contain_text("20,000 output tokens")
        act("Change")
        page.get_by_label("Tokens a month").fill("5M")
        page.keyboard.press("Enter")
        expect(carol).to_contain_text("0 of 5,000,000 tokens")
        assert works(team, first)
        act("Exchange the secret")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Exchange").press("Enter")
        second = secret()
        assert (works(team, first), works(team, second)) == (False, True)
        act("Revoke")
        page.keyboard.press("Enter")
        expect(names).to_have_count(3)
        assert not works(team, second)
        page.get_by_label("Also those that ended").press("Space")
        expect(names).to_have_text(["boss", "alice", "nightly evaluation", "former colleague", "carol"])
        page.get_by_label("Find keys").fill("qwen")
        expect(names).to_have_text(["nightly evaluation"])


def test_a_member_sees_its_own(browser: Browser, team: Team) -> None:
    """Its rights, what is left of them, and what it used itself; nothing of others."""
    with seen(browser, team, team.member, "keys") as page:
        own = page.locator(".own")
        expect(own).to_contain_text("60 of 60 left this minute")
        expect(own).to_contain_text("of 200,000 tokens spent; it begins anew on")
        expect(page.get_by_role("region", name="All keys")).to_be_hidden()
        page.get_by_role("link", name="Usage", exact=True).last.click()
        expect(page.locator(".sums dd").first).to_have_text("40")
        expect(page.get_by_label("Key", exact=True)).to_be_hidden()
        expect(page.get_by_role("region", name="By key")).to_have_count(0)
        assert "boss" not in page.content()
        page.keyboard.press("Escape")
        expect(page.get_by_label("Message", exact=True)).to_be_focused()


@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("narrow", "dark")])
def test_pages_can_be_read(browser: Browser, team: Team, size: str, scheme: str) -> None:
    """Contrast, names, sizes and ids of both pages and their dialogs, and nothing scrolls sideways."""
    with seen(browser, team, team.admin, "usage", viewport=SIZES[size], color_scheme=scheme) as page:
        look = Look(page, f"{size}-{scheme}")
        expect(page.locator(".plot")).to_have_count(3)
        look.at("usage")
        page.keyboard.press("a")
        expect(page.locator(".keylist li").first).to_contain_text("in use here")
        look.at("keys")
        page.get_by_role("button", name="Add a key").click()
        look.at("key")


FOLLOW = """() => {
    window.reached = new Set();
    window.unseen = [];
    const all = "a[href], button, input, select, textarea, summary, [tabindex='0']";
    window.usable = () => [...document.querySelectorAll(all)].filter(
        (node) => !node.disabled && node.tabIndex >= 0 && node.checkVisibility({visibilityProperty: true}));
    addEventListener("focusin", ({target}) => {
        reached.add(target);
        const style = getComputedStyle(target), box = target.closest(".composer");
        const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
        const boxed = box && getComputedStyle(box).boxShadow !== "none";
        if (!ring && !boxed && target.tabIndex >= 0) unseen.push(target.outerHTML.slice(0, 120));
    });
}"""
BEGIN = "() => { reached.clear(); document.activeElement.blur(); return usable().length }"
MISSED = "() => usable().filter((node) => !reached.has(node)).map((node) => node.outerHTML.slice(0, 120))"
VIEWS = {
    "u": "#page .plot",
    "a": "#page .keylist li",
    "s": "#panel textarea",
    "p": "#panel .inspector",
    "l": "#panel .card",
    "c": "#history .top",
}
"""The key of each view, and what is in it."""


def test_everything_is_reached_by_the_keyboard(browser: Browser, team: Team) -> None:
    """Each view has its key, the Tab key goes to whatever can be used in it and shows where it is, and Escape leaves
    it."""
    with seen(browser, team, team.admin, "usage") as page:
        page.evaluate(FOLLOW)
        for key, shown in VIEWS.items():
            page.keyboard.press(key)
            expect(page.locator(shown).first).to_be_visible()
            for _ in range(page.evaluate(BEGIN) + 2):
                page.keyboard.press("Tab")
            assert page.evaluate(MISSED) == [], key
            page.evaluate("document.activeElement.blur()")
        assert page.evaluate("unseen") == []
        page.keyboard.press("u")
        expect(page.locator("#page h1")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.get_by_label("Message", exact=True)).to_be_focused()
