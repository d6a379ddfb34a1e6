"""Threads, as the official SDK sends them: each turn brings its end, and the model is given the whole conversation."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from anthropic import AsyncAnthropic, beta_async_tool

from antiphon import surfaces
from antiphon.api.errors import BadRequest, NotFound
from antiphon.api.events import AnyEvent, Emit, Finished, Usage
from antiphon.api.seal import Seal
from antiphon.engines.scripted import Rule, Scripted
from antiphon.storage.file_store import FileStore
from antiphon.storage.records import Records
from antiphon.storage.store import open_store
from antiphon.surfaces.messages import threads
from antiphon.surfaces.messages.message import Style
from tests.loopback import listening
from tests.server_tools.serving import call, says
from tests.serving.served import served
from tests.storage.places import Place, local

MODEL: dict[str, Any] = {"model": "claude-test", "max_tokens": 100}


@asynccontextmanager
async def running(place: Place, *rules: Rule, quota: int = 0) -> AsyncIterator[tuple[Scripted, AsyncAnthropic]]:
    """A server with a store whose model follows these rules, and a client of it."""
    service, engine = await served(*rules)
    store = open_store(place.records, place.contents)
    options = surfaces.Options(seal_key=b"k" * 32, store=store, files=FileStore(store=store, quota=quota))
    try:
        async with (
            listening(surfaces.build(service, options)) as url,
            AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as client,
        ):
            yield engine, client
    finally:
        store.close()


def goes_on(engine: Scripted) -> None:
    """Each prompt begins with the one before it and what the model said to that."""
    for at, (before, later) in enumerate(pairwise(engine.jobs)):
        known = [*before.prompt, *engine.sampled[at]]
        assert list(later.prompt[: len(known)]) == known


async def post(client: AsyncAnthropic, **fields: Any) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer to a request with these fields."""
    headers = {"anthropic-version": "2023-06-01"}
    body = {**MODEL, **fields}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{str(client.base_url).rstrip('/')}/v1/messages", json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


def code(error: dict[str, Any]) -> str:
    return str(error["error"]["details"]["error_code"])


def going_on(id: str) -> dict[str, Any]:
    return {"thread": {"type": "continue", "previous_message_id": id}, "messages": [{"role": "user", "content": "On"}]}


async def test_a_thread_of_the_sdk(place: Place) -> None:
    """Whole and streamed turns; each sends its own message and nothing else, and computes from where the last ended."""
    async with running(place, *says("One.", "Two.", "Three.")) as (engine, client):
        sent = list[Any]()
        client._client.event_hooks["request"] = [lambda request: _take(sent, request)]
        thread = client.beta.messages.thread(**MODEL, system="Be brief.")
        first = await thread.send({"role": "user", "content": "First"})
        assert first.content[0].text == "One."  # type: ignore[union-attr]
        assert thread.previous_message_id == first.id
        async with thread.stream({"role": "user", "content": "Second"}) as stream:
            assert "".join([text async for text in stream.text_stream]) == "Two."
        await thread.send({"role": "user", "content": "Third"})
        assert [len(body["messages"]) for body in sent] == [1, 1, 1]
        assert ["system" in body for body in sent] == [True, False, False]
        assert [body["thread"]["type"] for body in sent] == ["create", "continue", "continue"]
        assert "Be brief." in engine.jobs[2].text
        goes_on(engine)


async def _take(sent: list[Any], request: Any) -> None:
    sent.append(json.loads(request.content))


async def test_a_tool_runner_goes_on_in_a_thread(tmp_path: Path) -> None:
    """It uses one by itself: the tools hold for all turns, and a turn of results brings results alone."""

    @beta_async_tool
    async def look(place: str) -> str:
        """Look somewhere.

        Args:
            place: Where.
        """
        return f"{place} is empty"

    async with running(local(tmp_path), *says(call("look", place="here"), "It is empty.")) as (engine, client):
        sent = list[Any]()
        client._client.event_hooks["request"] = [lambda request: _take(sent, request)]
        asked: Any = [{"role": "user", "content": "Look"}]
        runner = client.beta.messages.tool_runner(**MODEL, messages=asked, tools=[look])
        last = await runner.until_done()
        assert last.content[0].text == "It is empty."  # type: ignore[union-attr]
        assert [len(body["messages"]) for body in sent] == [1, 1]
        assert "here is empty" in engine.jobs[1].text
        goes_on(engine)


async def test_a_turn_is_continued_once(place: Place) -> None:
    """Twice is refused, also while another request is at it, unless its server is gone; whoever failed may try again;
    another thread is not touched."""
    async with running(place, Rule(text="Yes.")) as (_, client):
        asked = {"thread": {"type": "create"}, "messages": [{"role": "user", "content": "Hi"}]}
        first, other = (await post(client, **asked))[1]["id"], (await post(client, **asked))[1]["id"]
        assert (await post(client, **going_on(first), temperature=7))[0] == 400
        claim(place, first, time.time() + 1000)
        status, error = await post(client, **going_on(first))
        assert (status, code(error)) == (400, "thread_continue_in_flight")
        claim(place, first, time.time() - 1)
        status, second = await post(client, **going_on(first))
        assert status == 200
        status, error = await post(client, **going_on(first))
        assert (status, code(error)) == (400, "thread_already_continued")
        for id in (second["id"], other):
            assert (await post(client, **going_on(id)))[0] == 200


def claim(place: Place, id: str, until: float) -> None:
    """As another request would, until then."""
    records = Records(place.records)
    claimed = threads.TURNS.update().where(threads.TURNS.c.id == id).values(claim="another", until=until)
    records.run(threads.TABLES, lambda one: one.execute(claimed))
    records.close()


async def test_a_turn_that_another_has_overtaken_is_not_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two requests that go on from one turn, as the first took too long, the first is told instead of its end; from
    the other one the thread goes on. A turn that took as long alone is kept."""
    monkeypatch.setattr(threads, "_LEASE", -1.0)
    store = open_store(place.records, place.contents)
    kept, told, owner, prefix = threads.Threads(store), list[str](), os.urandom(8).hex(), os.urandom(8).hex()

    async def answer(name: str, asked: dict[str, Any], meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
        _, turn = await kept.open(json.dumps(asked).encode(), owner)
        assert turn is not None

        async def run(emit: Emit) -> None:
            if meanwhile:
                await meanwhile()
            await emit([Finished("end_turn", Usage(prompt=1, output=1))])

        async def tell(events: list[AnyEvent]) -> None:
            told.append(name)

        style = Style(id=prefix + name, model="claude-test", seal=Seal(b"k"))
        await kept.keeping(turn, style, run)(tell)

    with closing(store):
        await answer("first", {"thread": {"type": "create"}, "messages": [{"role": "user", "content": "Hi"}]})
        with pytest.raises(BadRequest) as caught:
            await answer("slow", going_on(f"{prefix}first"), lambda: answer("quick", going_on(f"{prefix}first")))
        assert caught.value.code == "thread_already_continued"
        with pytest.raises(NotFound):
            await answer("none", going_on(f"{prefix}slow"))
        await answer("last", going_on(f"{prefix}quick"))
        body, _ = await kept.open(json.dumps(going_on(f"{prefix}last")).encode(), owner)
        assert len(json.loads(body)["messages"]) == 7
        assert told == ["first", "quick", "last"]


async def test_what_is_no_thread_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id that is not there or is too old, another system prompt, token ids, a form that does not exist."""
    async with running(local(tmp_path), Rule(text="Yes.")) as (_, client):
        status, error = await post(client, **going_on("msg_none"))
        assert (status, code(error)) == (404, "thread_not_found")
        asked = {"thread": {"type": "create"}, "messages": [{"role": "user", "content": "Hi"}], "system": "A"}
        first = (await post(client, **asked))[1]["id"]
        status, error = await post(client, **going_on(first), system="B")
        assert (status, code(error)) == (400, "thread_fingerprint_mismatch")
        status, error = await post(client, thread={"type": "create"}, input_ids=[1, 2])
        assert (code(error), error["error"]["details"]["unsupported"]) == ("thread_unsupported_request", ["input_ids"])
        for bad in ({"type": "fork"}, {"type": "continue"}, 5):
            status, error = await post(client, thread=bad, messages=asked["messages"])
            assert (status, error["error"]["message"].partition(":")[0].partition(".")[0]) == (400, "thread")
        monkeypatch.setattr(threads, "SECONDS", -1.0)
        status, error = await post(client, **going_on(first), system="A")
        assert (status, code(error)) == (404, "thread_not_found")


async def test_each_key_has_its_own_threads_within_its_quota(tmp_path: Path) -> None:
    """A thread of another key is none; beyond the quota no more begin, and those that are there go on."""
    place = local(tmp_path)
    created = json.dumps({"messages": [], "thread": {"type": "create"}}).encode()
    async with running(place, Rule(text="Yes."), quota=10) as (_, client):
        asked = {"thread": {"type": "create"}, "messages": [{"role": "user", "content": "Hi"}]}
        first = (await post(client, **asked))[1]["id"]
        status, error = await post(client, **asked)
        assert (status, error["error"]["type"]) == (403, "permission_error")
        assert (await post(client, **going_on(first)))[0] == 200
    store = open_store(place.records, place.contents)
    with pytest.raises(NotFound):
        await threads.Threads(store).open(json.dumps(going_on(first)).encode(), "another")
    assert (await threads.Threads(store).open(created, "another"))[0] == b'{"messages":[]}'
    store.close()
