"""MCP servers in the Responses API: their lists of tools, and calls that the client approves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from antiphon.api.conversation import Tool
from antiphon.api.errors import BadRequest
from antiphon.server_tools.mcp.client import McpClient
from antiphon.server_tools.mcp.connector import Connector
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import Declared
from antiphon.server_tools.web.outward import Outward
from antiphon.storage.store import Store
from antiphon.surfaces.responses.tools.approvals import needs_approval
from antiphon.surfaces.responses.tools.toolbox import toolbox
from tests.server_tools.mcp.servers import listening
from tests.server_tools.serving import Running, call, running, says
from tests.server_tools.test_rounds import goes_on
from tests.surfaces.response_order import check, frames

PATH = "/v1/responses"
Fields = dict[str, Any]
ADD = call("add", a=2, b=3)
QUESTION: Fields = {"role": "user", "content": "Add."}


def offered() -> ServerTools:
    return ServerTools(connector=Connector(McpClient(Outward(allow_private=True)), open=True))


@pytest.fixture
async def things() -> AsyncIterator[Fields]:
    """A declaration of a real server."""
    async with listening() as url:
        yield {"type": "mcp", "server_label": "things", "server_url": url, "allowed_tools": ["add", "fail"]}


async def ask(server: Running, input: Any, tool: Fields) -> list[Fields]:
    """What is told of a stream, as the response has it."""
    body = {"model": "default", "input": input, "tools": [tool], "stream": True}
    async with aiohttp.ClientSession() as client, client.post(server.url + PATH, json=body) as response:
        assert response.status == 200, await response.text()
        output: list[Fields] = check(frames(await response.read()))["output"]
        return output


def kinds(output: list[Fields]) -> list[str]:
    return [item["type"] for item in output]


def answer(request: Fields, approve: bool, **more: Any) -> Fields:
    return {"type": "mcp_approval_response", "approval_request_id": request["id"], "approve": approve, **more}


async def test_what_a_server_has_is_told_once(things: Fields) -> None:
    """As the first item of a conversation, which holds for the rest of it: the server is not asked again."""
    tool = {**things, "require_approval": "never"}
    async with running(offered(), says(ADD, "Five.", "Yes.")) as server:
        first = await ask(server, [QUESTION], tool)
        assert kinds(first) == ["mcp_list_tools", "mcp_call", "message"]
        assert [each["name"] for each in first[0]["tools"]] == ["add", "fail"]
        assert first[0]["tools"][0]["input_schema"]["properties"].keys() == {"a", "b"}
        assert first[1]["output"] == "5"
        elsewhere = {**tool, "server_url": "http://127.0.0.1:1/mcp"}
        assert kinds(await ask(server, [QUESTION, *first, {"role": "user", "content": "Sure?"}], elsewhere)) == [
            "message"
        ]
        goes_on(server)


async def test_a_call_is_approved(things: Fields) -> None:
    """It ends the response, is run once it is approved, and its result is told; every prompt goes on from the one
    before it."""
    async with running(offered(), says(ADD, "Five.", "Yes.")) as server:
        input = [QUESTION]
        output = await ask(server, input, things)
        assert kinds(output) == ["mcp_list_tools", "mcp_approval_request"]
        request = output[1]
        assert (request["server_label"], request["name"]) == ("things", "add")
        assert request["arguments"] == '{"a": 2, "b": 3}'
        input += [*output, answer(request, True)]
        output = await ask(server, input, things)
        assert kinds(output) == ["mcp_call", "message"]
        assert (output[0]["approval_request_id"], output[0]["output"]) == (request["id"], "5")
        assert output[0]["status"] == "completed"
        input += [*output, {"role": "user", "content": "Sure?"}]
        assert kinds(await ask(server, input, things)) == ["message"]
        goes_on(server)


async def test_several_calls_of_which_one_is_denied(things: Fields) -> None:
    """The model learns of each in its turn, and why one was not approved."""
    calls = call("fail") + "\n" + ADD + "\n" + call("add", a=1, b=1)
    async with running(offered(), says(calls, "So.", "Yes.")) as server:
        output = await ask(server, [QUESTION], things)
        failing, denied, adding = (item for item in output if item["type"] == "mcp_approval_request")
        decisions = [answer(failing, True), answer(denied, False, reason="too dear"), answer(adding, True)]
        input = [QUESTION, *output, *decisions]
        output = await ask(server, input, things)
        assert [item.get("status") for item in output] == ["failed", "completed", "completed"]
        prompt = server.engine.jobs[-1].text
        broke, refused, two = (prompt.index(word) for word in ("tool fail", "too dear", "\n2\n"))
        assert broke < refused < two
        await ask(server, [*input, *output, {"role": "user", "content": "On."}], things)
        goes_on(server)


async def test_approved_calls_count(things: Fields) -> None:
    """To `max_tool_calls`, with those that the model makes afterwards: the call beyond it is not made."""
    twice = ADD + "\n" + call("add", a=1, b=1)
    async with running(offered(), says(twice, "So.")) as server:
        output = await ask(server, [QUESTION], things)
        approvals = [answer(item, True) for item in output if item["type"] == "mcp_approval_request"]
        asked = {"model": "default", "input": [QUESTION, *output, *approvals], "tools": [things]}
        response = await server.post(PATH, **asked, max_tool_calls=1)
        first, second, _ = response["output"]
        assert (first["output"], first["status"], second["status"]) == ("5", "completed", "failed")


async def test_an_approved_call_is_part_of_its_response(store: Store) -> None:
    """The response has begun, and tells of the call, while that is still running; it is cancelled with the response."""
    async with (
        listening() as url,
        running(offered(), says(call("wait"), "Never said."), store=store) as server,
        aiohttp.ClientSession() as client,
    ):
        tool = {"type": "mcp", "server_label": "things", "server_url": url, "allowed_tools": ["wait"]}
        output = await ask(server, [QUESTION], tool)
        input = [QUESTION, *output, answer(output[1], True)]
        body = {"model": "default", "input": input, "tools": [tool], "stream": True, "background": True}
        async with client.post(server.url + PATH, json=body) as response:
            begun = await response.content.readuntil(b"call_arguments.done")
            told = frames(begun + await response.content.readuntil(b"\n\n"))
            names = [event["type"].removeprefix("response.") for event in told]
            assert names[:4] == ["created", "in_progress", "output_item.added", "mcp_call.in_progress"]
            assert told[2]["item"]["approval_request_id"] == output[1]["id"]
            async with client.post(f"{server.url}{PATH}/{told[0]['response']['id']}/cancel") as cancelled:
                assert (await cancelled.json())["status"] == "cancelled"
            await response.read()
        assert len(server.engine.jobs) == 1


async def test_what_cannot_be_approved(things: Fields) -> None:
    """A request that there is none of, one that is answered, and a tool that the request does not declare."""
    async with running(offered(), says(ADD, "Five.")) as server:
        output = await ask(server, [QUESTION], things)
        request = output[1]

        async def wrong(*input: Fields, tools: Any = (things,)) -> str:
            status, told = await server.answer(PATH, model="default", input=[QUESTION, *input], tools=list(tools))
            assert status == 400
            return str(told["error"]["param"])

        assert (
            await wrong(*output, {**answer(request, True), "approval_request_id": "mcpr_none"})
            == "input.3.approval_request_id"
        )
        assert await wrong(*output, answer(request, False), answer(request, False)) == "input.4.approval_request_id"
        assert await wrong(*output, answer(request, True), tools=[]) == "tools"
        assert await wrong(*output) == "input"


@pytest.mark.parametrize(
    "chosen",
    [
        {"type": "mcp", "server_label": "things"},
        {"type": "mcp", "server_label": "things", "name": "add"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp", "server_label": "things"}]},
    ],
)
async def test_a_server_is_chosen(things: Fields, chosen: Fields) -> None:
    """The model must call a tool of the server, or the one that is named."""
    other = {"type": "function", "name": "other"}
    async with running(offered(), says(ADD)) as server:
        asked = {"model": "default", "input": "Add.", "tools": [things, other], "tool_choice": chosen}
        response = await server.post(PATH, **asked)
        assert kinds(response["output"])[-1] == "mcp_approval_request"
        status, told = await server.answer(PATH, **asked | {"tool_choice": {"type": "mcp", "server_label": "none"}})
        assert (status, told["error"]["param"]) == (400, "tool_choice")


def test_the_keys_of_a_server() -> None:
    """They are told in a field of their own or as headers; the server gets all of them."""
    told = {"authorization": "key", "headers": {"X-Team": "a"}}
    tool = {"type": "mcp", "server_label": "things", "server_url": "http://127.0.0.1:1/mcp", **told}
    (server,) = toolbox([msgspec.Raw(msgspec.json.encode(tool))], offered()).servers
    assert server.entry is not None
    assert (server.entry["authorization_token"], server.entry["headers"]) == ("key", {"X-Team": "a"})


async def test_keys_of_servers_are_not_told(things: Fields, store: Store) -> None:
    """Neither in the response nor in what is kept of it."""
    tool = {**things, "authorization": "secret", "headers": {"X-Key": "secret"}}
    async with running(offered(), says("So."), store=store) as server, aiohttp.ClientSession() as client:
        response = await server.post(PATH, model="default", input=[QUESTION], tools=[tool])
        assert response["tools"] == [things]
        async with client.get(f"{server.url}{PATH}/{response['id']}") as kept:
            assert "secret" not in await kept.text()


async def test_a_count_runs_nothing(things: Fields) -> None:
    """A call that was approved is not made for a count of tokens."""
    async with running(offered(), says(ADD)) as server:
        output = await ask(server, [QUESTION], things)
        input = [QUESTION, *output, answer(output[1], True)]
        closed = {**things, "server_url": "http://127.0.0.1:1/mcp"}
        counted = await server.post(PATH + "/input_tokens", model="default", input=input, tools=[closed])
        assert counted["input_tokens"] > 0


@pytest.mark.parametrize(
    ("required", "read", "write"),
    [
        (None, True, True),
        ("always", True, True),
        ("never", False, False),
        ({"never": {"tool_names": ["read"]}}, False, True),
        ({"always": {"tool_names": ["write"]}}, False, True),
        ({"never": {"read_only": True}}, False, True),
        ({"always": {"read_only": False}}, False, True),
        ({"never": {"tool_names": ["read", "write"], "read_only": True}}, False, True),
    ],
)
def test_what_needs_approval(required: Any, read: bool, write: bool) -> None:
    """As the declaration says, by words, names and what tools say of themselves."""

    async def run(call: Any) -> Fields:
        return {}

    def declared(name: str, read_only: bool) -> Declared:
        use = {"name": name, "server_name": "things"}
        tool = Tool(name=name, schema={})
        return Declared(tool=tool, family="mcp", use=use, result="", run=run, failed=lambda *_: {}, read_only=read_only)

    assert needs_approval(required, declared("read", True), "tools.0") is read
    assert needs_approval(required, declared("write", False), "tools.0") is write


def test_what_is_no_requirement() -> None:
    """It is told by the path of its field."""
    declared: Any = None
    for required in ("sometimes", {"never": ["read"]}, 1):
        with pytest.raises(BadRequest, match=r"^tools\.0\.require_approval: "):
            needs_approval(required, declared, "tools.0")


async def test_the_official_sdk(things: Fields) -> None:
    """Its types have a place for all of it."""
    async with (
        running(offered(), says(ADD, "Five.")) as server,
        openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client,
    ):
        tools: Any = [things]
        first = await client.responses.create(model="default", input=[QUESTION], tools=tools)  # type: ignore[list-item]
        listing, request = first.output
        assert listing.type == "mcp_list_tools"
        assert request.type == "mcp_approval_request"
        input: Any = [QUESTION, *(item.model_dump() for item in first.output), answer(request.model_dump(), True)]
        async with client.responses.stream(model="default", input=input, tools=tools) as events:
            second = await events.get_final_response()
        assert second.output[0].type == "mcp_call"
        assert second.output_text == "Five."
