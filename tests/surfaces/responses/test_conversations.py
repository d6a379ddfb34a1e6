"""Conversations that are kept: their items, and the responses that go on from them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.api.conversation import Conversation
from antiphon.prompt.turns import repaired
from antiphon.settings.keys import hashed
from antiphon.storage.store import Store
from tests.surfaces.conftest import Running, serving
from tests.surfaces.response_order import check, frames
from tests.surfaces.responses.test_responses import LOOK, WAIT
from tests.surfaces.scripted_service import TWO_CALLS, ScriptedService, plain

HI = {"role": "user", "content": "Hi"}


async def ask(server: Running, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    async with server.client.request(method, f"{server.url}/v1/{path}", json=body, headers=headers) as response:
        return response.status, await response.json()


def asked(service: ScriptedService) -> Conversation:
    """The conversation that the model was asked to go on with."""
    return repaired(service.conversation)


@pytest.mark.parametrize("how", [{}, {"stream": True}, {"store": False}, {"background": True, "stream": True}])
async def test_a_response_goes_on_from_it(keeping: Running, service: ScriptedService, how: dict[str, Any]) -> None:
    """Whole, streamed, kept or not: what was said on both sides joins the conversation, and the next response asks what
    sending all of it would."""
    service.script = TWO_CALLS
    _, conversation = await ask(
        keeping, "POST", "conversations", {"items": [{"role": "developer", "content": "Rules."}]}
    )

    async def say(**fields: Any) -> dict[str, Any]:
        body = {"model": "m", "tools": [LOOK, WAIT], **how, **fields}
        async with keeping.client.post(keeping.url + "/v1/responses", json=body) as response:
            raw = await response.read()
        return check(frames(raw)) if "stream" in how else json.loads(raw)

    first = await say(input="Hi", conversation=conversation["id"])
    assert first["conversation"] == {"id": conversation["id"]}
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "seen"}
        for item in first["output"]
        if item["type"] == "function_call"
    ]
    service.script = plain("So it is.")
    second = await say(input=results, conversation={"id": conversation["id"]})
    await say(input="And now?", conversation=conversation["id"])
    went_on = asked(service)
    rules = {"role": "developer", "content": "Rules."}
    question = {"role": "user", "content": "And now?"}
    await say(input=[rules, HI, *first["output"], *results, *second["output"], question])
    assert asked(service) == went_on
    _, listed = await ask(keeping, "GET", f"conversations/{conversation['id']}/items?order=asc")
    kinds = ["message", "message", *(item["type"] for item in first["output"])]
    assert [item["type"] for item in listed["data"][: len(kinds)]] == kinds
    assert len({item["id"] for item in listed["data"]}) == len(kinds) + len(results) + 3


async def test_a_response_of_it_is_gone_on_from_by_its_id(keeping: Running, service: ScriptedService) -> None:
    """With all that was said in the conversation before it, and nothing that was said after it; once the conversation
    is deleted, with what the responses have."""
    start = {"items": [{"role": "developer", "content": "Rules."}]}
    _, conversation = await ask(keeping, "POST", "conversations", start)

    async def say(input: Any, **fields: str) -> Any:
        _, response = await ask(keeping, "POST", "responses", {"model": "m", "input": input, **fields})
        return response

    first = await say("Hi", conversation=conversation["id"])
    second = await say([HI, HI], conversation=conversation["id"])
    await say("Later.", conversation=conversation["id"])
    third = await say("And now?", previous_response_id=second["id"])
    went_on = asked(service)
    question = {"role": "user", "content": "And now?"}
    rules = start["items"][0]
    await say([rules, HI, *first["output"], HI, HI, *second["output"], question])
    assert asked(service) == went_on
    await say("More.", previous_response_id=third["id"])
    assert asked(service).system == "Rules."
    await ask(keeping, "DELETE", f"conversations/{conversation['id']}")
    await say("And now?", previous_response_id=second["id"])
    went_on = asked(service)
    await say([HI, HI, *second["output"], question])
    assert asked(service) == went_on


async def test_its_items(keeping: Running) -> None:
    """They are listed in either order, page by page, found, added and deleted one by one."""
    _, made = await ask(keeping, "POST", "conversations", {"items": [HI], "metadata": {"topic": "demo"}})
    assert (made["object"], made["metadata"]) == ("conversation", {"topic": "demo"})
    path = f"conversations/{made['id']}"
    _, changed = await ask(keeping, "POST", path, {"metadata": {"topic": "other"}})
    assert changed == {**made, "metadata": {"topic": "other"}} == (await ask(keeping, "GET", path))[1]
    named = {"type": "message", "role": "user", "content": "Ho", "id": "msg_mine"}
    _, added = await ask(keeping, "POST", f"{path}/items", {"items": [named, named]})
    assert [item["id"] == "msg_mine" for item in added["data"]] == [True, False]
    _, page = await ask(keeping, "GET", f"{path}/items?order=asc&limit=2")
    assert [item["content"][0]["text"] for item in page["data"]] == ["Hi", "Ho"]
    assert page["has_more"] is True
    _, rest = await ask(keeping, "GET", f"{path}/items?order=asc&after={page['last_id']}")
    assert rest["data"] == added["data"][1:]
    assert await ask(keeping, "GET", f"{path}/items/msg_mine") == (200, added["data"][0])
    assert await ask(keeping, "DELETE", f"{path}/items/msg_mine") == (200, changed)
    assert (await ask(keeping, "GET", f"{path}/items/msg_mine"))[1]["error"]["code"] == "item_not_found"
    deleted = {"id": made["id"], "object": "conversation.deleted", "deleted": True}
    assert await ask(keeping, "DELETE", path) == (200, deleted)
    for method in ("GET", "DELETE"):
        assert (await ask(keeping, method, path))[1]["error"]["code"] == "conversation_not_found"


async def test_items_with_nulls(keeping: Running) -> None:
    """A null `type`, `id` or `status` is what a field left out is."""
    nulls = {"type": None, "id": None, "status": None, "role": "user", "content": "Hi"}
    _, made = await ask(keeping, "POST", "conversations", {"items": [nulls]})
    _, added = await ask(keeping, "POST", f"conversations/{made['id']}/items", {"items": [nulls]})
    status, listed = await ask(keeping, "GET", f"conversations/{made['id']}/items?limit=1")
    assert status == 200
    assert listed["data"] == added["data"]
    (item,) = listed["data"]
    assert (item["type"], item["status"], item["id"][:4]) == ("message", "completed", "msg_")


async def test_what_is_wrong(keeping: Running, service: ScriptedService) -> None:
    """It is told by the path of its field, and nothing is kept."""
    _, made = await ask(keeping, "POST", "conversations", {})
    items = f"conversations/{made['id']}/items"
    status, told = await ask(keeping, "POST", items, {"items": [HI, {"type": "item_reference", "id": "msg_1"}]})
    assert (status, told["error"]["param"]) == (400, "items.1.type")
    status, told = await ask(keeping, "POST", items, {"items": [HI, {"role": 1}]})
    assert (status, told["error"]["param"]) == (400, "items.1.role")
    assert (await ask(keeping, "GET", items))[1]["data"] == []
    body = {"model": "m", "input": "Hi", "conversation": made["id"], "previous_response_id": "resp_1"}
    status, told = await ask(keeping, "POST", "responses", body)
    assert (status, told["error"]["param"]) == (400, "conversation")
    status, told = await ask(keeping, "POST", "responses", {"model": "m", "input": "Hi", "conversation": "conv_none"})
    assert (status, told["error"]["code"]) == (404, "conversation_not_found")
    service.script = []
    assert (await ask(keeping, "POST", "responses", {"model": "m", "input": "Hi", "conversation": made["id"]}))[
        0
    ] == 500
    assert (await ask(keeping, "GET", items))[1]["data"] == []


async def test_without_a_store(server: Running) -> None:
    """There are none."""
    assert (await ask(server, "POST", "conversations", {}))[0] == 404
    assert (await ask(server, "POST", "responses", {"model": "m", "input": "Hi", "conversation": "conv_1"}))[0] == 404


async def test_each_key_has_its_own(service: ScriptedService, store: Store) -> None:
    """What one key made, no other sees, changes or goes on from."""
    one, two = {"authorization": "Bearer one"}, {"authorization": "Bearer two"}
    keys = Keyring((hashed("one"), hashed("two")))
    async with serving(service, store=store, accounts=Accounts(keys=keys)) as server:
        _, made = await ask(server, "POST", "conversations", {"items": [{**HI, "id": "msg_1"}]}, **one)
        path = f"conversations/{made['id']}"
        body = {"model": "m", "input": "Hi", "conversation": made["id"]}
        for method, where, sent in (
            ("GET", path, None),
            ("POST", path, {"metadata": {}}),
            ("GET", f"{path}/items", None),
            ("POST", f"{path}/items", {"items": [HI]}),
            ("GET", f"{path}/items/msg_1", None),
            ("POST", "responses", body),
            ("DELETE", f"{path}/items/msg_1", None),
            ("DELETE", path, None),
        ):
            assert (await ask(server, method, where, sent, **two))[0] == 404
            assert (await ask(server, method, where, sent, **one))[0] == 200


async def test_the_official_sdk(keeping: Running) -> None:
    """As it calls them."""
    async with openai.AsyncOpenAI(base_url=keeping.url + "/v1", api_key="any", max_retries=0) as client:
        made = await client.conversations.create(items=[{"role": "user", "content": "Hi"}], metadata={"a": "b"})
        response = await client.responses.create(model="m", input="On", conversation=made.id)
        assert response.conversation is not None
        assert response.conversation.id == made.id
        items = [item async for item in client.conversations.items.list(made.id, order="asc", limit=2)]
        assert [item.type for item in items] == ["message"] * 3
        first = await client.conversations.items.retrieve(str(items[0].id), conversation_id=made.id)
        assert first == items[0]
        assert (await client.conversations.items.delete(str(first.id), conversation_id=made.id)).id == made.id
        assert (await client.conversations.update(made.id, metadata={"c": "d"})).metadata == {"c": "d"}
        assert (await client.conversations.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.conversations.retrieve(made.id)
