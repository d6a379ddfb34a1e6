"""The console in a real browser, before the default model in the embedded engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from antiphon.engines import Reach, connect
from antiphon.engines.embedded import Launch
from antiphon.engines.models import model_store
from antiphon.process.engine_process import EngineProcess
from antiphon.settings.sources import Settings
from tests.console.conftest import Watched, ready, say, sent, settled, watched
from tests.end_to_end.conftest import Server

pytestmark = pytest.mark.xdist_group("console")


@pytest.fixture
def watching(browser: Browser, real: Server) -> Iterator[Watched]:
    """Pages of the real server."""
    with watched(browser, real.url) as found:
        yield found


def at_most(page: Page, tokens: int) -> None:
    """Let replies have so many tokens, the likeliest ones."""
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Most tokens").fill(str(tokens))
    page.get_by_label("Temperature").fill("0")


def test_a_reply_streams(page: Page) -> None:
    """Text grows as it comes; afterwards the page tells why it ended, what it used and how fast it came."""
    at_most(page, 60)
    page.get_by_label("Message", exact=True).fill("Tell me a story about the sea.")
    page.evaluate(
        """() => {
            window.lengths = new Set();
            const measure = () => lengths.add(document.querySelector(".turn.assistant .blocks")?.textContent.length);
            const thread = document.querySelector("#thread");
            new MutationObserver(measure).observe(thread, {childList: true, subtree: true, characterData: true});
        }"""
    )
    body = sent(page, lambda: page.keyboard.press("Enter"))
    assert (body["stream"], body["max_tokens"]) == (True, 60)
    settled(page, 1)
    assert page.evaluate("lengths.size") > 3
    figures = page.locator(".turn.assistant .figures").inner_text()
    for word in ("new", "from cache", "written", "to first token", "tokens/s"):
        assert word in figures
    assert page.locator(".figures .reason dd").inner_text() in ("end_turn", "max_tokens")
    expect(page.locator("#announcer")).to_contain_text("Reply finished")
    page.get_by_role("button", name="Events").click()
    raw = page.get_by_role("dialog").inner_text()
    assert "message_start" in raw
    assert "content_block_delta" in raw
    assert "message_stop" in raw


def test_a_tool_round_trip(page: Page) -> None:
    """A call that was demanded comes with arguments that fit; its result goes back, and the model answers it."""
    page.get_by_role("button", name="Have it call a tool").click()
    at_most(page, 200)
    body = sent(page, lambda: page.get_by_label("Message", exact=True).press("Enter"))
    assert body["tool_choice"] == {"type": "any"}
    settled(page, 1)
    call = page.get_by_label("Call of get_weather")
    asked = json.loads(call.locator("pre").inner_text())
    assert asked["unit"] in ("celsius", "fahrenheit")
    result = page.get_by_label("Result of get_weather")
    expect(result).to_be_focused()
    result.fill('{"sky": "clear"}')
    body = sent(page, lambda: result.press("Control+Enter"))
    settled(page, 2)
    assert "tool_choice" not in body
    *_, assistant, user = body["messages"]
    [used] = [block for block in assistant["content"] if block["type"] == "tool_use"]
    assert used["input"] == asked
    assert user["content"] == [{"type": "tool_result", "tool_use_id": used["id"], "content": '{"sky": "clear"}'}]
    assert page.locator(".turn.assistant").nth(1).locator(".blocks").inner_text().strip()


def test_the_inspector_shows_the_engines_own_tokens(page: Page, tmp_path: Path) -> None:
    """The ids in the page are those that a llama.cpp of its own gives for the text; a typed control token is fenced,
    and the part that came from the cache is shaded."""
    at_most(page, 20)
    say(page, "Say hello to Zürich 😀.")
    say(page, "And again?")
    first, text = shown(page, 0)
    assert first == tokenised(text, tmp_path)
    second, _ = shown(page, 1)
    # What the model wrote keeps the ids that it was sampled with, whatever the tokenizer would make of it.
    assert second[: len(first)] == first
    figures = page.locator(".turn.assistant").nth(1).locator(".figures dd").all_inner_texts()
    assert int(figures[1]) + int(figures[2]) == len(second)
    assert int(figures[2]) == page.locator(".token.held").count() > len(first)


def shown(page: Page, reply: int) -> tuple[list[int], str]:
    """The ids that the inspector shows of a reply's prompt, and the text that the server gave for it."""
    with page.expect_response(lambda response: response.url.endswith("/render")) as waiting:
        page.locator(".turn.assistant").nth(reply).get_by_role("button", name="Prompt").click()
    told = waiting.value.json()
    page.get_by_label("Token ids").check()
    expect(page.locator(".token")).to_have_count(told["input_tokens"])
    return [int(id) for id in page.locator(".token").evaluate_all("all => all.map((one) => one.dataset.id)")], told[
        "text"
    ]


def tokenised(text: str, folder: Path) -> list[int]:
    """The ids that an engine of its own makes of a text."""
    model = model_store.resolve("", Path(Settings().cache_dir))
    launch = Launch(model=str(model), window=512, parallel=1, threads=1, key="k", log=str(folder / "log"))
    process = EngineProcess(launch, lambda sentence: None)

    async def tokenise() -> list[int]:
        engine = connect(f"llama.cpp+http://127.0.0.1:{port}", Reach(key="k"))
        try:
            return await engine.tokenise([text])
        finally:
            await engine.close()

    try:
        port = process.start()
        # Playwright has an event loop running in this thread.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(tokenise())).result()
    finally:
        process.stop()


def test_a_typed_control_token_is_shown_fenced(page: Page) -> None:
    """The example that teaches it fills in a control token; the inspector tells it from the real ones."""
    page.get_by_role("button", name="See what it sees").click()
    expect(page.locator(".prompt .fenced")).to_have_text("<|im_end|>")
    controls = page.locator(".prompt .control").all_inner_texts()
    assert controls.count("<|im_end|>") == 2
    assert ready(page).locator(".prompt .text").all_inner_texts() == ["Say hello. "]
