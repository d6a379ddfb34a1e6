"""Responses that are kept: chains, references, retrieval, deletion."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.api.conversation import Conversation, Text
from antiphon.api.errors import EngineFailed
from antiphon.api.events import Started, TextDelta, ToolDelta, ToolEnd, ToolStart, Usage
from antiphon.prompt.turns import repaired
from antiphon.settings.keys import hashed
from antiphon.storage.store import Store, open_store
from antiphon.surfaces.responses.state.response_store import KeptResponses
from antiphon.surfaces.responses.state.tables import RESPONSES, responses
from tests.surfaces.conftest import Running, serving
from tests.surfaces.response_order import check, frames
from tests.surfaces.responses.test_responses import LOOK, PATH, WAIT, ask, post
from tests.surfaces.scripted_service import TWO_CALLS, ScriptedService, plain


def asked(service: ScriptedService) -> Conversation:
    """The conversation that the model was asked to go on with."""
    return repaired(service.conversation)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_chain_is_the_conversation_sent_whole(
    keeping: Running, service: ScriptedService, streaming: bool
) -> None:
    """Whatever was said, thought and called: going on from a response asks what sending all of it does."""
    service.script = TWO_CALLS
    given = {"tools": [LOOK, WAIT], "instructions": "Be brief.", "stream": streaming}

    async def say(**fields: Any) -> dict[str, Any]:
        body = {"model": "m", **given, **fields}
        async with keeping.client.post(keeping.url + PATH, json=body) as response:
            raw = await response.read()
        return check(frames(raw)) if streaming else json.loads(raw)

    first = await say(input="Hi")
    answers = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "seen"}
        for item in first["output"]
        if item["type"] == "function_call"
    ]
    service.script = plain("So it is.")
    second = await say(input=answers, previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    await say(input="And now?", previous_response_id=second["id"])
    chained = asked(service)
    history = [{"role": "user", "content": "Hi"}, *first["output"], *answers, *second["output"]]
    await say(input=[*history, {"role": "user", "content": "And now?"}])
    assert asked(service) == chained


async def test_a_long_chain_is_whole(store: Store) -> None:
    """An agent that went on for a day loses nothing of what it said first."""
    ids = [f"resp_{at}" for at in range(1100)]
    rows = [
        {
            "id": id,
            "previous": previous,
            "owner": "",
            "created": time.time(),
            "status": "completed",
            "items": b'[{"role":"user","content":"%s"}]' % id.encode(),
            "response": b'{"output":[]}',
        }
        for id, previous in zip(ids, [None, *ids], strict=False)
    ]
    store.records.run(RESPONSES, lambda connection: connection.execute(responses.insert(), rows))
    chain = await KeptResponses(store).chain(ids[-1], "")
    assert [json.loads(bytes(item))["content"] for item in chain.items] == ids


async def test_items_are_referred_to(keeping: Running, service: ScriptedService) -> None:
    """By their ids alone, as long as their response is kept."""
    service.script = TWO_CALLS
    _, _, response = await post(keeping, tools=[LOOK, WAIT])
    answers = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "seen"}
        for item in response["output"][2:]
    ]
    question = {"role": "user", "content": "Hi"}
    await post(keeping, input=[question, *response["output"], *answers], tools=[LOOK, WAIT])
    sent = asked(service)
    references = [{"type": "item_reference", "id": item["id"]} for item in response["output"]]
    assert (await post(keeping, input=[question, *references, *answers], tools=[LOOK, WAIT]))[0] == 200
    assert asked(service) == sent
    await ask(keeping, "DELETE", f"/{response['id']}")
    status, _, told = await post(keeping, input=[question, *references, *answers], tools=[LOOK, WAIT])
    assert (status, told["error"]["param"]) == (400, "input.1.id")


async def test_a_reference_needs_no_type(keeping: Running, service: ScriptedService) -> None:
    """An id is enough, as the SDK types it."""
    _, _, response = await post(keeping)
    (said,) = response["output"]
    for reference in ({"id": said["id"]}, {"type": None, "id": said["id"]}):
        assert (await post(keeping, input=[{"role": "user", "content": "Hi"}, reference]))[0] == 200
        assert asked(service).turns[1].parts == (Text("Hello there"),)


async def test_what_is_referred_to_is_kept_itself(keeping: Running, service: ScriptedService) -> None:
    """A response that was asked with references lists the items, and is gone on from when theirs is forgotten."""
    _, _, first = await post(keeping)
    (said,) = first["output"]
    question = {"role": "user", "content": "Sure?"}
    _, _, second = await post(keeping, input=[{"id": said["id"]}, question])
    await ask(keeping, "DELETE", f"/{first['id']}")
    _, items = await ask(keeping, "GET", f"/{second['id']}/input_items?order=asc")
    assert items["data"][0] == said
    assert (await post(keeping, previous_response_id=second["id"]))[0] == 200
    assert asked(service).turns[0].parts == (Text("Hello there"),)


async def test_items_with_nulls_are_listed(keeping: Running) -> None:
    """A null `type`, `id` or `status`, as models of the SDK dump them, is what a field left out is."""
    nulls = {"type": None, "id": None, "status": None, "role": "user", "content": "Hi"}
    _, _, response = await post(keeping, input=[nulls])
    _, items = await ask(keeping, "GET", f"/{response['id']}/input_items")
    (item,) = items["data"]
    assert (item["type"], item["status"]) == ("message", "completed")
    assert item["id"] == items["first_id"]
    assert item["content"] == [{"type": "input_text", "text": "Hi"}]


async def test_what_is_kept_can_be_looked_at(keeping: Running) -> None:
    """As it was told; with the items of its request; and forgotten."""
    _, _, response = await post(keeping, input=[{"role": "user", "content": "Hi"}, {"role": "user", "content": "Ho"}])
    assert response["store"] is True
    assert await ask(keeping, "GET", f"/{response['id']}") == (200, response)
    _, items = await ask(keeping, "GET", f"/{response['id']}/input_items?order=asc&limit=1")
    (item,) = items["data"]
    assert (item["role"], item["content"]) == ("user", [{"type": "input_text", "text": "Hi"}])
    assert (items["has_more"], items["last_id"]) == (True, item["id"])
    _, rest = await ask(keeping, "GET", f"/{response['id']}/input_items?order=asc&after={item['id']}")
    assert [each["content"][0]["text"] for each in rest["data"]] == ["Ho"]
    deleted = {"id": response["id"], "object": "response", "deleted": True}
    assert await ask(keeping, "DELETE", f"/{response['id']}") == (200, deleted)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        status, told = await ask(keeping, method, f"/{response['id']}{path}")
        assert (status, told["error"]["code"]) == (404, "response_not_found")


async def test_a_stream_that_broke_off_is_kept(keeping: Running, service: ScriptedService) -> None:
    """As it was told: with its error, and with what was said by then; it is there once its end is told."""
    done = [Started(Usage(prompt=7)), TextDelta("Let me see."), ToolStart("toolu_1", "look"), ToolDelta("{}")]
    service.script = [[*done, ToolEnd(), TextDelta("So")], EngineFailed("It died.")]
    async with keeping.client.post(keeping.url + PATH, json={"model": "m", "input": "Hi", "stream": True}) as response:
        failed = check(frames(await response.read()))
    assert (failed["status"], len(failed["output"])) == ("failed", 2)
    assert await ask(keeping, "GET", f"/{failed['id']}") == (200, failed)


async def test_what_is_not_stored_is_not_kept(keeping: Running) -> None:
    """`store: false` says so, and nothing can go on from it."""
    _, _, response = await post(keeping, store=False)
    assert response["store"] is False
    assert (await ask(keeping, "GET", f"/{response['id']}"))[0] == 404
    status, _, told = await post(keeping, previous_response_id=response["id"])
    assert (status, told["error"]["code"]) == (400, "previous_response_not_found")
    assert told["error"]["param"] == "previous_response_id"


async def test_without_a_store(server: Any) -> None:
    """Everything else works; what would have to be kept is not found."""
    _, _, response = await post(server)
    assert response["store"] is False
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        assert (await ask(server, method, f"/{response['id']}{path}"))[0] == 404
    assert (await post(server, previous_response_id=response["id"]))[0] == 404
    assert (await post(server, background=True))[0] == 400


async def test_a_disk_that_takes_nothing_costs_no_reply(service: ScriptedService, tmp_path: Path) -> None:
    """The reply is told all the same; what could not be kept says so, and a response in the background is refused."""
    (tmp_path / "file").write_text("no folder")
    broken = open_store(f"sqlite:///{tmp_path}/file/store.sqlite", str(tmp_path / "contents"))
    async with serving(service, store=broken) as server:
        status, _, response = await post(server)
        assert (status, response["store"], response["status"]) == (200, False, "completed")
        body = {"model": "m", "input": "Hi", "stream": True}
        async with server.client.post(server.url + PATH, json=body) as reply:
            assert check(frames(await reply.read()))["status"] == "completed"
        assert (await post(server, background=True))[0] == 500
    broken.close()


async def test_each_key_has_its_own(service: ScriptedService, store: Store) -> None:
    """What one key made, no other sees."""
    async with serving(service, store=store, accounts=Accounts(keys=Keyring((hashed("one"), hashed("two"))))) as server:
        body = {"model": "m", "input": "Hi"}
        async with server.client.post(server.url + PATH, json=body, headers={"authorization": "Bearer one"}) as reply:
            id = (await reply.json())["id"]
        for key, expected in (("one", 200), ("two", 404)):
            status, _ = await ask(server, "GET", f"/{id}", authorization=f"Bearer {key}")
            assert status == expected
        again = {**body, "previous_response_id": id}
        async with server.client.post(server.url + PATH, json=again, headers={"authorization": "Bearer two"}) as reply:
            assert reply.status == 400


async def test_the_official_sdk(keeping: Running) -> None:
    """Chains, retrieval, items and deletion, as it calls them."""
    async with openai.AsyncOpenAI(base_url=keeping.url + "/v1", api_key="any", max_retries=0) as client:
        first = await client.responses.create(model="m", input="Hi")
        second = await client.responses.create(model="m", input="On", previous_response_id=first.id)
        assert (await client.responses.retrieve(second.id)).output_text == second.output_text
        items = [item async for item in client.responses.input_items.list(second.id)]
        assert [item.type for item in items] == ["message"]
        await client.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(first.id)
        counted = await client.responses.input_tokens.count(model="m", input="Hi")
        assert counted.input_tokens == 7
