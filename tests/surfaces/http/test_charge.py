"""What requests are charged: the figures that their replies tell, on every surface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from antiphon.accounts.accounts import Accounts, open_accounts
from antiphon.accounts.report import report
from antiphon.accounts.usage import Counts, Entry
from antiphon.api.events import Finished, PromptProgress, Started, TextDelta, Usage
from antiphon.engines.scripted import Rule
from antiphon.observability.request_watch import Watch
from antiphon.settings.keys import hashed, label
from antiphon.storage.store import open_store
from antiphon.surfaces.http.charge import Charge
from tests.faults.processes import eventually
from tests.observability.test_operating import over, saying
from tests.surfaces import order
from tests.surfaces.conftest import Running, serving
from tests.surfaces.scripted_service import ScriptedService, Step

TOOLS = {"web_search_requests": 2, "web_fetch_requests": 1}
SUMMARY = Usage(prompt=7, cached=2, output=4)
FIGURES = Usage(prompt=100, cached=40, created=10, output=30, thinking=5, server_tools=TOOLS)
REPLY: list[Step] = [[Started(FIGURES), TextDelta("Hel")], [TextDelta("lo"), Finished("end_turn", FIGURES)]]
TOLD = Counts(requests=1, input=50, created=10, cached=40, output=30, thinking=5, web_searches=2, web_fetches=1)
KEY = {"x_api_key": "k"}


class Charging:
    """A server that keeps usage, and what it kept."""

    def __init__(self, server: Running, accounts: Accounts, folder: Path) -> None:
        self.server = server
        self._accounts = accounts
        self._folder = folder

    def used(self) -> Counts:
        """What the key has used, but for the time it took."""
        assert self._accounts.usage
        lines = report(self._accounts.usage.cells(self._folder / "journals", 0, 1 << 40), ("key",))
        assert [line.place for line in lines] in ([], [(label(hashed("k")),)])
        return msgspec.structs.replace(lines[0].counts if lines else Counts(), milliseconds=0)


@asynccontextmanager
async def charging(folder: Path, service: Any, **options: Any) -> AsyncIterator[Charging]:
    store = open_store(f"sqlite:///{folder / 'store.sqlite'}", str(folder / "contents"))
    accounts = await open_accounts(store.records, [hashed("k")], folder / "journals")
    async with serving(service, accounts=accounts, store=store, **options) as server:
        yield Charging(server, accounts, folder)
    await accounts.close()
    store.close()


def times(count: int, counts: Counts) -> Counts:
    return Counts(*(count * value for value in msgspec.structs.astuple(counts)))


async def test_a_reply_is_charged_as_it_is_told(tmp_path: Path) -> None:
    """Streamed or whole, on each surface, the key is charged once, with the figures that the client reads; what a
    summary took before it is charged with it."""
    async with charging(tmp_path, ScriptedService(REPLY)) as here:
        server = here.server
        status, _, told = await server.post(server.ask(), **KEY)
        usage = told["usage"]
        assert (status, here.used()) == (200, TOLD)
        assert (usage["input_tokens"], usage["cache_creation_input_tokens"], usage["output_tokens"]) == (50, 10, 30)
        _, _, raw = await server.stream(server.ask(), **{"x-api-key": "k"})
        assert order.frames(raw)[-2]["usage"] == usage
        assert here.used() == times(2, TOLD)
        for stream in (False, True):
            chat = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "Hi"}]}
            async with server.client.post(
                server.url + "/v1/chat/completions", json=chat, headers={"authorization": "Bearer k"}
            ) as response:
                await response.read()
            asked = {"model": "m", "input": "Hi", "stream": stream}
            async with server.client.post(
                server.url + "/v1/responses", json=asked, headers={"x-api-key": "k"}
            ) as response:
                await response.read()
        chosen = msgspec.structs.replace(TOLD, created=0, input=60)
        assert here.used() == times(4, TOLD).plus(times(2, chosen))
        before = here.used()
        end = Finished("end_turn", msgspec.structs.replace(FIGURES, compaction=SUMMARY))
        server.service.script = [[Started(FIGURES), TextDelta("Hello"), end]]
        await server.post(server.ask(), **KEY)
        assert here.used() == before.plus(TOLD).plus(Counts(input=5, cached=2, output=4))


async def test_a_conversation_in_short_is_charged_as_a_reply(tmp_path: Path) -> None:
    """The summary that is asked for by itself is a request that came to its end, with the figures that it tells."""
    service, _ = await over(Rule(when="about to be replaced by a summary", text="A red door was seen."))
    async with charging(tmp_path, service) as here:
        asked = {"model": "m", "input": "Look around."}
        status, _, told = await here.server.post(asked, "/v1/responses/compact", **KEY)
        used = here.used()
    assert (status, used.requests, used.broken) == (200, 1, 0)
    assert (used.input + used.cached, used.output) == (told["usage"]["input_tokens"], told["usage"]["output_tokens"])


async def test_several_choices_are_one_request(tmp_path: Path) -> None:
    """Their prompt is charged once, their outputs together: as the reply's own figures are."""
    service, _ = await over(Rule(text="a b c"))
    async with charging(tmp_path, service) as here:
        chat = {"model": "m", "n": 3, "messages": [{"role": "user", "content": "Hi"}]}
        status, _, told = await here.server.post(chat, "/v1/chat/completions", **KEY)
        assert (status, len(told["choices"])) == (200, 3)
        used, usage = here.used(), told["usage"]
        assert (used.requests, used.input + used.cached) == (1, usage["prompt_tokens"])
        assert (used.output, used.cached) == (
            usage["completion_tokens"],
            usage["prompt_tokens_details"]["cached_tokens"],
        )


@pytest.mark.parametrize("ending", ["the engine fails", "the client leaves"])
async def test_a_reply_that_breaks_off_is_charged_apart(tmp_path: Path, ending: str) -> None:
    """With what it had used by then, as broken. What is refused costs nothing."""
    rule = Rule(text="a b c d e f", delay=0.05, fail_after=3 if ending == "the engine fails" else None)
    service, engine = await over(rule)
    async with charging(tmp_path, service) as here:
        server = here.server
        assert (await server.post({"model": "m"}, **KEY))[0] == 400
        assert here.used() == Counts()
        headers = {"anthropic-version": "x", "x-api-key": "k"}
        body = {**saying(server, "hi"), "stream": True}
        async with server.client.post(server.url + "/v1/messages", json=body, headers=headers) as response:
            if ending == "the client leaves":
                await response.content.readuntil(b"content_block_delta")
                response.close()
            else:
                assert b"event: error" in await response.read()
        await eventually(lambda: here.used().broken)
        used = here.used()
        assert (used.requests, used.broken) == (0, 1)
        assert used.input > 0
        assert 0 < used.output < 6 + 1
    assert engine.running == 0


async def test_a_client_that_leaves_while_its_prompt_is_read_is_charged_for_what_was(tmp_path: Path) -> None:
    """Otherwise whoever leaves before the first token, and comes back for what is cached by then, computes for nothing.
    A request that only waited costs nothing."""
    service, engine = await over(Rule(text="Done.", first_delay=60, steps=600), slots=1)
    async with charging(tmp_path, service, ping_interval=0.1) as here:
        body = {**saying(here.server, 300 * "many words "), "stream": True}
        headers = {"anthropic-version": "x", "x-api-key": "k"}
        post = partial(here.server.client.post, here.server.url + "/v1/messages", json=body, headers=headers)
        async with post() as reading, post() as waiting:
            for response in (waiting, reading):
                for _ in range(3):
                    await response.content.readuntil(b"event: ping")
                response.close()
        await eventually(lambda: here.used().broken)
        await eventually(lambda: not engine.running)
        used = here.used()
    assert (used.broken, used.output) == (1, 0)
    assert 0 < used.input < 300


def test_a_round_whose_prompt_is_not_read_is_charged_for_what_was() -> None:
    """A client that leaves while the prompt of a further round is read pays for as much of it as was computed."""
    entries: list[Entry] = []
    ledger: Any = SimpleNamespace(enter=entries.append)
    watch = Watch()
    charge = Charge(ledger, watch)
    watch.begin_prompt(100)
    watch.batch([Started(Usage(prompt=100))])
    watch.batch([TextDelta("Hm.")])
    watch.generated(0, 5)
    watch.begin_prompt(150)
    watch.prompt_read(PromptProgress(prompt=150, cached=105, read=115))
    watch.generated(0, 0)
    charge.end()
    (entry,) = entries
    assert (entry.counts.input, entry.counts.cached, entry.counts.output) == (110, 105, 5)


async def test_several_choices_that_break_off_are_charged_one_prompt(tmp_path: Path) -> None:
    """As they are when they come to their end."""
    service, _ = await over(Rule(text="a b c d e f", delay=0.05))
    async with charging(tmp_path, service) as here:
        chat = {"model": "m", "n": 3, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        url = here.server.url + "/v1/chat/completions"
        async with here.server.client.post(url, json=chat, headers={"x-api-key": "k"}) as response:
            await response.content.readuntil(b'"content":"')
            response.close()
        await eventually(lambda: here.used().broken)
        broken = here.used()
        await here.server.post({**chat, "stream": False}, "/v1/chat/completions", **KEY)
        whole = here.used()
    assert (broken.input + broken.cached) * 2 == whole.input + whole.cached > 0


async def test_a_response_in_the_background_is_charged_when_it_is_made(tmp_path: Path) -> None:
    """Once, whole, although its request was answered long before."""
    async with charging(tmp_path, ScriptedService([0.2, *REPLY])) as here:
        asked = {"model": "m", "input": "Hi", "background": True}
        status, _, told = await here.server.post(asked, "/v1/responses", **KEY)
        assert (status, told["status"], here.used()) == (200, "in_progress", Counts())
        await eventually(lambda: here.used().requests)
        await asyncio.sleep(0)
        assert here.used() == TOLD
