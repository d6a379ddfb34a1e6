"""Responses in the background: made while nobody waits, heard again from any event on, and never left undone."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import MetaData

from antiphon.api.errors import EngineFailed
from antiphon.api.events import Finished, Started, TextDelta
from antiphon.storage.records import TableSet
from antiphon.storage.store import Store, open_store
from antiphon.surfaces.responses.state import background, response_store, tables
from tests.surfaces.conftest import Running, serving
from tests.surfaces.response_order import check, frames
from tests.surfaces.responses.test_responses import PATH, USAGE, ask, post
from tests.surfaces.scripted_service import ScriptedService, plain

LONG = 3600.0
SLOWLY: list[Any] = [
    [Started(USAGE), TextDelta("So")],
    0.05,
    [TextDelta(" it")],
    0.05,
    [TextDelta(" is."), Finished("end_turn", USAGE)],
]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told of a response is kept at once."""
    monkeypatch.setattr(background, "SECONDS", 0.02)


@pytest.fixture
async def beside(store: Store) -> AsyncIterator[Running]:
    """Another worker of the same server, which makes nothing."""
    async with serving(ScriptedService([]), store=store) as running:
        yield running


async def until(server: Running, id: str, *statuses: str) -> dict[str, Any]:
    """The response, once it stands so."""
    while True:
        _, response = await ask(server, "GET", f"/{id}")
        if response["status"] in statuses:
            return dict(response)
        await asyncio.sleep(0.02)


def id_in(frames: bytes) -> str:
    """The id of the response that these are the beginning of."""
    return re.findall(rb"resp_\w+", frames)[0].decode()


async def heard(server: Running, id: str, query: str = "") -> bytes:
    """What is told of a response, without comments."""
    async with server.client.get(f"{server.url}{PATH}/{id}?stream=true{query}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        return without_comments(await response.read())


def without_comments(raw: bytes) -> bytes:
    """A stream without its pings, which come whenever it is silent."""
    return b"".join(frame + b"\n\n" for frame in raw.split(b"\n\n")[:-1] if not frame.startswith(b":"))


async def test_it_is_there_at_once_and_whole_when_it_is(keeping: Running, service: ScriptedService) -> None:
    """A failure is told in it."""
    service.script = SLOWLY
    status, _, begun = await post(keeping, background=True)
    assert (status, begun["status"], begun["background"]) == (200, "in_progress", True)
    made = await until(keeping, begun["id"], "completed")
    assert made["output"][0]["content"][0]["text"] == "So it is."
    service.script = [[Started(USAGE)], EngineFailed("It died.")]
    _, _, begun = await post(keeping, background=True)
    made = await until(keeping, begun["id"], "failed")
    assert made["error"] == {"code": "server_error", "message": "It died."}
    assert check(frames(await heard(keeping, begun["id"]))) == made


async def test_it_is_cancelled(keeping: Running, service: ScriptedService, beside: Running) -> None:
    """By any worker: the engine is free again, the response stays cancelled, and who listens hears the end."""
    service.script = [[Started(USAGE), TextDelta("So")], LONG]
    _, _, begun = await post(keeping, background=True)
    await service.begun.wait()
    listening = asyncio.ensure_future(heard(keeping, begun["id"]))
    status, told = await ask(beside, "POST", f"/{begun['id']}/cancel")
    assert (status, told["status"]) == (200, "cancelled")
    await service.closed.wait()
    await listening
    assert (await until(keeping, begun["id"], "cancelled"))["output"] == []
    service.script = plain()
    _, _, whole = await post(keeping)
    assert (await ask(keeping, "POST", f"/{whole['id']}/cancel"))[0] == 400


async def test_every_listener_hears_the_same(keeping: Running, service: ScriptedService, beside: Running) -> None:
    """The client that asked for it, one that comes later, one at another worker, one that has heard a part of it: all
    of them are told the same bytes, while it is made and afterwards."""
    service.script = SLOWLY
    async with keeping.client.post(
        keeping.url + PATH, json={"model": "m", "input": "Hi", "stream": True, "background": True}
    ) as response:
        first = await response.content.readuntil(b"response.output_text.delta")
        id = id_in(first)
        others = [asyncio.ensure_future(heard(server, id)) for server in (keeping, beside)]
        raw = without_comments(first + await response.read())
    assert check(frames(raw)) == await until(keeping, id, "completed")
    assert await asyncio.gather(*others) == [raw, raw]
    events = raw.split(b"\n\n")[:-1]
    for server in (keeping, beside):
        for number in range(len(events)):
            rest = b"".join(event + b"\n\n" for event in events[number + 1 :])
            assert await heard(server, id, f"&starting_after={number}") == rest


async def test_it_is_made_though_its_client_leaves(keeping: Running, service: ScriptedService) -> None:
    """What was streamed in part is whole in the end."""
    service.script = SLOWLY
    body = {"model": "m", "input": "Hi", "stream": True, "background": True}
    async with keeping.client.post(keeping.url + PATH, json=body) as response:
        id = id_in(await response.content.readuntil(b"response.in_progress"))
    assert (await until(keeping, id, "completed"))["output"][0]["content"][0]["text"] == "So it is."


async def test_it_is_gone_on_from_at_once(keeping: Running, service: ScriptedService) -> None:
    """Who hears the end finds the whole response."""
    service.script = SLOWLY
    async with openai.AsyncOpenAI(base_url=keeping.url + "/v1", api_key="any", max_retries=0) as client:
        events = await client.responses.create(model="m", input="Hi", background=True, stream=True)
        async for event in events:
            if event.type == "response.completed":
                service.script = plain()
                await client.responses.create(model="m", input="On", previous_response_id=event.response.id)
                break
        else:
            raise AssertionError("it never ended")


async def test_it_fails_when_its_worker_is_gone(
    keeping: Running, service: ScriptedService, beside: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its lease is over, whoever looks finds that it failed, and the stream ends so; its worker, if it is there
    after all, lets it be."""
    monkeypatch.setattr(background, "SECONDS", LONG)
    monkeypatch.setattr(response_store, "LEASE", -1.0)
    may_end = asyncio.Event()
    service.script = [SLOWLY[0], may_end, SLOWLY[-1]]
    _, _, begun = await post(keeping, background=True)
    told = await heard(beside, begun["id"])
    (end,) = frames(told)
    assert (end["type"], end["response"]["error"]["code"]) == ("response.failed", "server_error")
    assert await until(beside, begun["id"], "failed") == end["response"]
    may_end.set()
    assert (await post(keeping, previous_response_id=begun["id"]))[0] == 200
    while await heard(keeping, begun["id"]) != told:
        pass
    assert await until(keeping, begun["id"], "failed") == end["response"]


async def test_what_cannot_be_told_again(keeping: Running) -> None:
    """A response that was not made in the background, and a place that is none."""
    _, _, whole = await post(keeping)
    status, told = await ask(keeping, "GET", f"/{whole['id']}?stream=true")
    assert (status, told["error"]["param"], told["error"]["code"]) == (400, "stream", "invalid_request_error")
    _, _, begun = await post(keeping, background=True)
    status, told = await ask(keeping, "GET", f"/{begun['id']}?stream=true&starting_after=x")
    assert (status, told["error"]["param"]) == (400, "starting_after")
    await until(keeping, begun["id"], "completed")
    assert await heard(keeping, begun["id"], "&starting_after=1000") == b""


async def test_an_older_store_is_brought_up(store: Store, tmp_path: Path) -> None:
    """What was kept before there were leases is there still; what was being made then has failed."""
    before = MetaData()
    for table in (tables.responses, tables.response_items):
        table.to_metadata(before)
    row = {"owner": "", "created": time.time(), "items": b"[]", "response": b'{"output":[]}'}
    rows = [{"id": status, "status": status, **row} for status in ("completed", "in_progress")]
    earlier = open_store(f"sqlite:///{tmp_path}/store.sqlite", "")
    await earlier.records.write(
        TableSet("responses", 1, before), lambda one: one.execute(tables.responses.insert(), rows)
    )
    earlier.close()
    responses = response_store.KeptResponses(store)
    assert (await responses.find("completed", "")).response == b'{"output":[]}'
    assert (await responses.find("in_progress", "")).status == "failed"


async def test_the_official_sdk(keeping: Running, service: ScriptedService) -> None:
    """It takes a stream up again where it left it."""
    service.script = SLOWLY
    async with openai.AsyncOpenAI(base_url=keeping.url + "/v1", api_key="any", max_retries=0) as client:
        begun = await client.responses.create(model="m", input="Hi", background=True)
        async with client.responses.stream(response_id=begun.id) as events:
            final = await events.get_final_response()
        assert final.output_text == "So it is."
        rest = await client.responses.retrieve(begun.id, stream=True, starting_after=3)
        assert [event.sequence_number async for event in rest] == list(range(4, 11))
