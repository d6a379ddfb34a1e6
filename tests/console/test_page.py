"""The console in a real browser, before the scripted engine: what a small model cannot be relied on to do."""

from __future__ import annotations

import base64
import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.conftest import Watched, kept, ready, say, sent, settled, watched
from tests.end_to_end.conftest import Server, serving

pytestmark = pytest.mark.xdist_group("console")

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def message(page: Page) -> Any:
    return page.get_by_label("Message", exact=True)


def texts(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (turn["role"], "".join(block.get("text", "") for block in turn["content"] if block["type"] == "text"))
        for turn in body["messages"]
    ]


def with_weather(page: Page) -> None:
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Add a known tool").click()
    page.get_by_role("menuitem", name="get_weather").click()
    page.get_by_role("button", name="Settings").click()


def test_thinking_is_folded(page: Page) -> None:
    """It is there, folded, and unfolds; with the next message it goes back as it came, sealed."""
    say(page, "Hi")
    thought = page.locator(".thinking .thought")
    expect(thought).to_be_hidden()
    page.locator(".thinking summary").click()
    expect(thought).to_have_text("What to say?")
    expect(page.locator(".turn.assistant .prose")).to_have_text("Hello from the script. 😀")
    message(page).fill("And?")
    body = sent(page, lambda: page.keyboard.press("Enter"))
    settled(page, 2)
    [block] = [block for block in body["messages"][1]["content"] if block["type"] == "thinking"]
    assert block["thinking"].strip() == "What to say?"
    assert block["signature"]
    assert set(block) <= {"type", "thinking", "signature"}


def test_parallel_calls_are_answered_together(page: Page) -> None:
    """Each call has a place for its result; all go back in one message, one of them as a failure. What the model then
    writes is drawn as text, list, table and code."""
    with_weather(page)
    say(page, "The weather?")
    boxes = page.get_by_label("Result of get_weather")
    expect(boxes).to_have_count(2)
    boxes.nth(0).fill("clear")
    boxes.nth(1).fill("no answer")
    page.get_by_label("The tool failed").nth(1).check()
    body = sent(page, lambda: page.locator(".answer").get_by_role("button", name="Send results").click())
    settled(page, 2)
    calls = [block["id"] for block in body["messages"][-2]["content"] if block["type"] == "tool_use"]
    assert body["messages"][-1]["content"] == [
        {"type": "tool_result", "tool_use_id": calls[0], "content": "clear"},
        {"type": "tool_result", "tool_use_id": calls[1], "content": "no answer", "is_error": True},
    ]
    reply = page.locator(".turn.assistant").nth(1)
    expect(reply.locator(".prose strong")).to_have_text("Zürich")
    expect(reply.locator("ol li")).to_have_text(["sun", "blue sky"])
    expect(reply.locator("td")).to_have_text(["Zürich", "clear"])
    expect(reply.locator("pre code")).to_have_text("print('sun')")


def test_arguments_grow_as_they_stream(page: Page) -> None:
    """The call is seen before its arguments are whole."""
    with_weather(page)
    page.evaluate(
        """() => {
            window.seen = new Set();
            const look = () => seen.add(document.querySelector(".call pre")?.textContent);
            new MutationObserver(look).observe(document.querySelector("#thread"), {childList: true, subtree: true});
        }"""
    )
    say(page, "Let the arguments grow")
    *growing, whole = page.evaluate("[...seen].filter(Boolean)")
    assert len(growing) > 2
    assert all(later.startswith(text) and "}" not in text for text, later in pairwise(growing))
    assert json.loads(whole) == {"city": "a b c d e f g h i j k l m n o p", "unit": "celsius"}


def test_what_a_model_writes_is_text(page: Page) -> None:
    """No element but the plain ones, no script run, no address that could do harm."""
    say(page, "Attack")
    prose = page.locator(".turn.assistant .prose")
    expect(prose).to_contain_text("<img src=x onerror=")
    expect(prose.locator("pre")).to_have_text('"><script>\n</script>')
    assert prose.locator("img, script, b, i, iframe").count() == 0
    links = prose.locator("a").evaluate_all("nodes => nodes.map((node) => [node.textContent, node.href, node.rel])")
    assert links == [["c", "https://example.com/?q=1", "noopener noreferrer nofollow"]]
    assert page.title() == "Antiphon"


def test_a_long_prompt_is_seen_while_it_is_read(page: Page) -> None:
    """The reply in progress says how much of its prompt is read, until it begins."""
    page.get_by_label("Message", exact=True).fill("Read slowly")
    page.keyboard.press("Enter")
    reading = page.get_by_text(re.compile(r"Reading the prompt: [\d,]+ of [\d,]+ tokens"))
    expect(reading).to_be_visible()
    expect(page.get_by_role("progressbar")).to_be_visible()
    settled(page, 1)
    expect(reading).to_have_count(0)
    expect(page.get_by_text("I have read it.")).to_be_visible()


def test_stop_and_retry(page: Page) -> None:
    """Escape ends a reply, what came stays; asking again begins anew from the same message."""
    message(page).fill("Slowly")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.assistant .prose")).to_contain_text("five")
    page.keyboard.press("Escape")
    settled(page, 1)
    expect(page.locator(".figures .reason dd")).to_have_text("stopped here")
    kept = page.locator(".turn.assistant .prose").inner_text()
    assert kept.startswith("one two three four five")
    body = sent(page, lambda: page.get_by_role("button", name="Retry", exact=True).click())
    assert texts(body) == [("user", "Slowly")]
    page.get_by_role("button", name="Stop").click()
    settled(page, 1)


def test_edit_and_remove(page: Page) -> None:
    """An edited message is sent in place of the old one, and what came after it is gone; so is what is removed."""
    say(page, "First")
    say(page, "Second")
    page.locator(".turn.user").nth(0).get_by_role("button", name="Edit").click()
    page.get_by_label("Text of this turn").fill("Changed")
    body = sent(page, lambda: page.get_by_role("button", name="Save and send").click())
    settled(page, 1)
    assert texts(body) == [("user", "Changed")]
    page.locator(".turn.assistant").get_by_role("button", name="Edit").click()
    page.get_by_label("Text of this turn").fill("As I say")
    page.get_by_role("button", name="Save", exact=True).click()
    message(page).fill("Next")
    body = sent(page, lambda: page.keyboard.press("Enter"))
    settled(page, 2)
    assert texts(body) == [("user", "Changed"), ("assistant", "As I say"), ("user", "Next")]
    page.locator(".turn").nth(2).get_by_role("button", name="Remove").click()
    expect(page.locator(".turn")).to_have_count(2)


def test_export_and_import(page: Page, watching: Watched, tmp_path: Path) -> None:
    """A conversation saved and taken up elsewhere asks the same; the body of a request can be taken up, too."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    say(page, "Hi")
    page.get_by_role("button", name="More").click()
    with page.expect_download() as waiting:
        page.get_by_role("menuitem", name="Export").click()
    file = tmp_path / "conversation.json"
    waiting.value.save_as(file)
    assert json.loads(file.read_text())["format"] == "antiphon-conversation"
    other = ready(watching.open())
    taken_up(other, file)
    expect(other.locator(".turn")).to_have_count(2)
    message(other).fill("And?")
    body = sent(other, lambda: other.keyboard.press("Enter"))
    assert body["system"] == "Be brief."
    assert texts(body) == [("user", "Hi"), ("assistant", "Hello from the script. 😀"), ("user", "And?")]
    settled(other, 2)
    file.write_text(json.dumps({**body, "temperature": 0.5, "messages": [{"role": "user", "content": "Raw"}]}))
    taken_up(other, file)
    body = sent(other, lambda: other.get_by_role("button", name="Ask for a reply").click())
    assert (texts(body), body["temperature"]) == ([("user", "Raw")], 0.5)
    settled(other, 1)


def taken_up(page: Page, file: Path) -> None:
    page.get_by_role("button", name="More").click()
    with page.expect_file_chooser() as choosing:
        page.get_by_role("menuitem", name="Import").click()
    choosing.value.set_files(file)
    expect(page.locator(".toast")).to_contain_text("imported")


def test_a_reload_keeps_the_conversation(page: Page) -> None:
    """In this tab; figures and prompt can still be looked at."""
    say(page, "Hi")
    kept(page, "end_turn")
    page.reload()
    ready(page)
    expect(page.locator(".turn.assistant .prose")).to_have_text("Hello from the script. 😀")
    page.get_by_role("button", name="Prompt", exact=True).nth(1).click()
    expect(page.locator(".prompt .text")).to_have_text("Hi")


def test_files_go_with_the_message(page: Page, tmp_path: Path) -> None:
    """Pictures and documents are dropped, pasted or chosen, can be taken away again, and go with the message."""
    text, picture = tmp_path / "notes.md", tmp_path / "dot.png"
    text.write_text("# Notes")
    picture.write_bytes(PIXEL)
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Attach").click()
    choosing.value.set_files([text, picture])
    expect(page.get_by_label("Attached").locator("li")).to_have_count(2)
    expect(page.locator(".composer .note")).to_contain_text("cannot see pictures")
    page.get_by_role("button", name="Remove dot.png").click()
    for kind in ("drop", "paste"):
        page.evaluate(
            """kind => {
                const data = new DataTransfer();
                data.items.add(new File(["%PDF-1.4"], `${kind}ped.pdf`, {type: "application/pdf"}));
                const given = kind === "drop" ? {dataTransfer: data} : {clipboardData: data};
                const make = kind === "drop" ? DragEvent : ClipboardEvent;
                document.body.dispatchEvent(new make(kind, {...given, bubbles: true, cancelable: true}));
            }""",
            kind,
        )
    expect(page.get_by_label("Attached").locator("li")).to_have_count(3)
    message(page).fill("See these")
    body = sent(page, lambda: page.keyboard.press("Enter"))
    settled(page, 1)
    *documents, said = body["messages"][0]["content"]
    assert said == {"type": "text", "text": "See these"}
    assert [(each["type"], each["title"], each["source"]["type"]) for each in documents] == [
        ("document", "notes.md", "text"),
        ("document", "dropped.pdf", "base64"),
        ("document", "pasteped.pdf", "base64"),
    ]
    assert documents[0]["source"]["data"] == "# Notes"
    assert base64.b64decode(documents[1]["source"]["data"]) == b"%PDF-1.4"


def test_every_setting_is_sent(page: Page, watching: Watched) -> None:
    """And only those that were set. What cannot be sent is told beside its field."""
    # The script does not keep to the schema, which the server tells.
    watching.allowed = ("status of 500",)
    assert set(sent(page, lambda: say(page, "Hi"))) == {"model", "max_tokens", "messages", "stream", "diagnostics"}
    page.get_by_role("button", name="Settings").click()
    fields = {
        "System prompt": "Be brief.",
        "Most tokens": "77",
        "Temperature": "0.5",
        "Top p": "0.9",
        "Top k": "40",
        "Stop sequences": "END\nSTOP",
    }
    for name, value in fields.items():
        page.get_by_label(name).fill(value)
    page.get_by_role("button", name="Paste JSON").click()
    schema = {"type": "object", "properties": {}}
    look = {"type": "function", "function": {"name": "look", "description": "Looks", "parameters": schema}}
    page.get_by_label("One tool, a list").fill(json.dumps([look]))
    page.get_by_role("button", name="Use", exact=True).click()
    page.get_by_label("Use of tools").select_option("none")
    page.get_by_label("Mode", exact=True).select_option("enabled")
    page.get_by_label("Budget").fill("33")
    page.get_by_label("Effort").select_option("low")
    page.get_by_label("JSON schema").fill("{")
    expect(page.locator(".trouble:visible")).to_contain_text("not valid JSON")
    page.get_by_label("JSON schema").fill(json.dumps(schema))
    expect(page.locator(".trouble:visible")).to_have_count(0)
    body = sent(page, lambda: say(page, "Again"))
    assert body["tools"] == [{"name": "look", "description": "Looks", "input_schema": schema}]
    expected = {
        "system": "Be brief.",
        "max_tokens": 77,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop_sequences": ["END", "STOP"],
        "tool_choice": {"type": "none"},
        "thinking": {"type": "enabled", "budget_tokens": 33},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
    }
    assert {name: body[name] for name in expected} == expected


@pytest.mark.parametrize("text", ["Fail before the first word", "Fail after some words"])
def test_failures_say_what_to_do(page: Page, watching: Watched, text: str) -> None:
    """Before the first byte and in the middle: what the server said, its request id, and a way to try again."""
    watching.allowed = ("status of 500", "status of 529")
    say(page, text)
    failure = page.locator(".failure")
    expect(failure).to_contain_text("the script says to fail here")
    expect(failure).to_contain_text(re.compile("req_"))
    body = sent(page, lambda: failure.get_by_role("button", name="Try again").click())
    settled(page, 1)
    assert texts(body) == [("user", text)]


def test_a_key_is_asked_for(browser: Browser, tmp_path: Path) -> None:
    """Once, when it is needed; a wrong one is told of; then everything carries the right one."""
    with (
        serving(tmp_path, f"scripted+{Path(__file__).parent / 'script.json'}", "--api-key", "secret") as server,
        watched(browser, server.url) as watching,
    ):
        watching.allowed = ("status of 401",)
        page = watching.open()
        for key, question in (("wrong", "This server asks for a key"), ("secret", "That key was not accepted")):
            page.get_by_label(question).fill(key)
            page.get_by_role("button", name="Use this key").click()
        ready(page)
        say(page, "Hi")
        expect(page.locator(".turn.assistant .prose")).to_have_text("Hello from the script. 😀")
        page.get_by_role("button", name="Live").click()
        expect(page.locator(".gauges strong").first).to_contain_text("0")
        assert page.evaluate("JSON.stringify(localStorage)").count("secret") == 0


def test_live_agrees_with_the_metrics(page: Page, scripted: Server) -> None:
    """A running stream is seen running, and the totals are those of /metrics."""
    page.get_by_role("button", name="Live").click()
    message(page).fill("Slowly")
    page.keyboard.press("Enter")
    running = page.locator(".gauge", has_text="Running").locator("strong")
    expect(running).to_contain_text("1")
    # Tokens are counted while the reply is running.
    expect(page.locator(".gauge", has_text="Written").locator("strong")).to_have_text(re.compile(r"[1-9]\d* tokens/s"))
    page.keyboard.press("Escape")
    expect(running).to_contain_text("0")
    expect(page.locator(".gauge polyline")).to_have_count(6)
    card = page.locator("article.card")
    expect(card).to_contain_text("scripted-thinker")
    expect(card).to_contain_text("200,000 tokens")


def test_the_keyboard_is_enough(page: Page) -> None:
    """Every shortcut that the list names does what it says, and none acts while one writes."""
    message(page).fill("Hi ?snlptm")
    page.keyboard.press("Enter")
    settled(page, 1)
    expect(page.locator(".turn.user")).to_contain_text("Hi ?snlptm")
    page.keyboard.press("Escape")
    for key, heading in (("s", "Settings"), ("p", "Prompt"), ("l", "Live")):
        page.keyboard.press(key)
        expect(page.locator("#panel h2")).to_have_text(heading)
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    page.keyboard.press("j")
    expect(page.locator(".turn.user")).to_be_focused()
    page.keyboard.press("e")
    expect(page.get_by_label("Text of this turn")).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("#thread").focus()
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    assert texts(sent(page, lambda: page.keyboard.press("r")))[0] == ("user", "Hi ?snlptm")
    settled(page, 1)
    page.keyboard.press("/")
    expect(message(page)).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("light or dark")
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("n")
    expect(page.locator(".welcome")).to_be_visible()
