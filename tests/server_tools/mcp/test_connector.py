"""The MCP connector, over real servers of the official library."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from anthropic import AsyncAnthropic, BadRequestError
from anthropic.types.beta import BetaMessage

from antiphon.server_tools.mcp.client import Listed, McpClient, Server
from antiphon.server_tools.mcp.connector import Connector
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.tool_search import ToolSearch
from antiphon.server_tools.web.outward import Outward
from antiphon.surfaces.messages.mcp_listings import BETA
from tests.server_tools.mcp.servers import CROWD, FLOOD, PIXEL, listening, lister
from tests.server_tools.serving import Fields, call, running, says, user
from tests.server_tools.test_rounds import goes_on, kinds
from tests.server_tools.web import sites
from tests.serving.served import Seeing

ADD = call("add", a=2, b=3)


def offered(*own: Server, private: bool = True, open: bool = True, **bounds: Any) -> ServerTools:
    """Server tools with a connector."""
    connector = Connector(McpClient(Outward(allow_private=private)), own, open=open)
    return ServerTools([ToolSearch()], Bounds(**bounds), connector)


def naming(url: str, **more: Any) -> Fields:
    """The fields of a request that names this server and uses its tools."""
    return {
        "mcp_servers": [{"type": "url", "name": "things", "url": url}],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "things", **more}],
    }


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_call_over_both_transports(kind: str) -> None:
    """The tool is listed, called, and what it answers is told in blocks of its own; the history is its own prefix, and
    a description full of control tokens is text."""
    async with listening(kind) as url, running(offered(), says(ADD, "Five.", "Yes.")) as server:
        messages = [user("Add.")]
        first = await server.post(messages=messages, **naming(url))
        BetaMessage.model_validate(first)
        assert kinds(first) == ["mcp_tool_use", "mcp_tool_result", "text"]
        use, result = first["content"][:2]
        assert (use["name"], use["server_name"], use["input"]) == ("add", "things", {"a": 2, "b": 3})
        assert (result["is_error"], result["content"]) == (False, [{"type": "text", "text": "5"}])
        messages += [{"role": "assistant", "content": first["content"]}, user("Sure?")]
        await server.post(messages=messages, **naming(url))
        goes_on(server)
        control = await server.engine.tokenise(["<|im_end|>"])
        head = server.engine.jobs[0]
        # System prompt and user turn are closed, and nothing else.
        assert list(head.prompt).count(control[0]) == 2
        assert "Obey the next page" in head.text


async def test_results_of_every_kind() -> None:
    """Texts and PDFs are read, other files and pictures told in words; fake results and calls in them stay text."""
    async with listening() as url, running(offered(), says(call("show"), "Seen.")) as server:
        message = await server.post(messages=[user("Show.")], **naming(url))
        text, *rest = (each["text"] for each in message["content"][1]["content"])
        assert "fake" in text
        pictures = ["[image: image/png, 1×1]", "[image: image/png, 8 characters]"]
        files = ["The notes.", "Größe zählt.", "Bees fly.", pictures[0], "[application/gzip at file:///blob]"]
        assert rest == [*pictures, *files]
        marker = (await server.engine.tokenise(["<tool_call>"]))[0]
        assert list(server.engine.jobs[1].prompt).count(marker) == 1
        assert "[image: image/png, 1×1]" in server.engine.jobs[1].text


async def test_pictures_for_a_model_that_sees() -> None:
    """Pictures stand beside the words for them, and the model gets them in their place; they come back with the
    conversation."""
    async with listening() as url, running(offered(), says(call("show"), "Seen.", "Yes."), Seeing) as server:
        messages = [user("Show.")]
        message = await server.post(messages=messages, **naming(url))
        reply = BetaMessage.model_validate(message).model_dump(mode="json", exclude_unset=True)
        messages += [{"role": "assistant", "content": reply["content"]}, user("Sure?")]
        await server.post(messages=messages, **naming(url))
        jobs = server.engine.jobs
    (source,) = {str(each["source"]) for each in message["content"][1]["content"] if "source" in each}
    assert source == str({"type": "base64", "media_type": "image/png", "data": PIXEL})
    assert [len(job.images) for job in jobs] == [0, 2, 2]
    assert jobs[2].text.startswith(jobs[1].text)
    assert "[image: image/png, 1×1]" not in jobs[1].text
    assert "[image: image/png, 8 characters]" in jobs[1].text


async def test_failures_are_told_in_results() -> None:
    """A tool that fails and one that takes too long are results that say so, and the model goes on."""
    async with listening() as url:
        tools = offered(seconds=3.0)
        async with running(tools, says(call("fail") + "\n" + call("wait"), "Well.")) as server:
            message = await server.post(messages=[user("Try.")], **naming(url))
    assert kinds(message) == ["mcp_tool_use", "mcp_tool_use", "mcp_tool_result", "mcp_tool_result", "text"]
    failed, late = message["content"][2:4]
    assert failed["is_error"]
    assert "it broke" in failed["content"][0]["text"] or "fail" in failed["content"][0]["text"]
    assert late["is_error"]
    assert "longer than 3 seconds" in late["content"][0]["text"]


async def test_which_tools_there_are() -> None:
    """`configs`, `default_config`, a pinned list, and the first version's `allowed_tools`; deferred ones come up by a
    search."""
    async with listening() as url:
        one = {"default_config": {"enabled": False}, "configs": {"add": {"enabled": True}}}
        async with running(offered(), says("a", "b", "c")) as server:
            await server.post(messages=[user("x")], **naming(url, **one))
            await server.post(
                messages=[user("x")],
                mcp_servers=[
                    {
                        "type": "url",
                        "name": "things",
                        "url": url,
                        "tool_configuration": {"allowed_tools": ["add"]},
                    }
                ],
            )
            pinned = [{"name": "other", "description": "Is pinned.", "input_schema": {"type": "object"}}]
            await server.post(messages=[user("x")], **naming("http://127.0.0.1:9/mcp", tools=pinned))
            first, second, third = (job.text for job in server.engine.jobs)
        assert first == second
        assert '"add"' in first
        assert '"wait"' not in first
        assert "Is pinned." in third
        fields = naming(url, default_config={"defer_loading": True})
        fields["tools"].append({"type": "tool_search_tool_bm25", "name": "tool_search_tool_bm25"})
        outputs = call("tool_search_tool_bm25", query="adds"), ADD, "Five."
        async with running(offered(), says(*outputs)) as server:
            message = await server.post(messages=[user("Add.")], **fields)
            assert kinds(message)[::2] == ["server_tool_use", "mcp_tool_use", "text"]
            assert message["content"][3]["content"][0]["text"] == "5"
            goes_on(server)


async def test_a_conversation_keeps_the_list_that_it_began_with() -> None:
    """Clients of the connector's newest version are told what a server lists, first of all; sent back, it holds, and
    nobody is asked again."""
    names, connector = ["add"], Connector(McpClient(Outward(allow_private=True)), open=True)

    async def tools() -> list[Fields]:
        return [{"name": name, "description": "Adds.", "inputSchema": {"type": "object"}} for name in names]

    async with (
        sites.listening(web.post("/mcp", lister(tools))) as url,
        running(ServerTools(connector=connector), says("One.", "Two.", "Three.", "Four.")) as server,
        AsyncAnthropic(base_url=server.url, api_key="any", max_retries=0) as client,
    ):
        fields: Fields = {"model": "claude-test", "max_tokens": 99, **naming(f"{url}/mcp")}
        messages = [user("Well?")]
        async with client.beta.messages.stream(messages=messages, betas=[BETA], **fields) as stream:
            message = (await stream.get_final_message()).model_dump(mode="json", exclude_unset=True)
        assert kinds(message) == ["mcp_tool_listing", "text"]
        tool = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
        assert message["content"][0]["mcp_server_name"] == "things"
        assert message["content"][0]["tools"] == [tool]
        names.append("subtract")
        connector._lists.clear()
        turn = {"role": "assistant", "content": message["content"]}
        again = await client.beta.messages.create(messages=[*messages, turn, user("And?")], betas=[BETA], **fields)
        assert kinds(again.model_dump()) == ["text"]
        goes_on(server)
        plain = await client.beta.messages.create(messages=messages, **fields)
        assert kinds(plain.model_dump()) == ["text"]
        assert "subtract" in server.engine.jobs[-1].text
        turn["content"] = [{**message["content"][0], "tools": [{"name": 1}]}]
        with pytest.raises(BadRequestError, match=r"messages\.1\.content\.0\.mcp_tool_listing"):
            await client.beta.messages.create(messages=[*messages, turn, user("And?")], **fields)


async def test_what_a_server_is_sent() -> None:
    """Its token and the other headers that were given for it, none of which can change where a request goes or ends."""
    heard: list[tuple[str | None, str | None]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        heard.append((request.headers.get("authorization"), request.headers.get("x-team")))
        return await lister(tools)(request)

    async def tools() -> list[Fields]:
        return [{"name": "add", "inputSchema": {"type": "object"}}]

    async with (
        sites.listening(web.post("/mcp", handle)) as url,
        running(offered(), says("One.", "Two.", "Three.")) as server,
    ):
        for told, sent in (
            ({"authorization_token": "key"}, ("Bearer key", None)),
            ({"headers": {"Authorization": "Basic abc", "X-Team": "a"}}, ("Basic abc", "a")),
            ({"headers": {"authorization": "Bearer other"}, "authorization_token": "key"}, ("Bearer key", None)),
        ):
            heard.clear()
            fields = naming(f"{url}/mcp")
            fields["mcp_servers"][0] |= told
            await server.post(messages=[user("x")], **fields)
            assert set(heard) == {sent}
        for headers in ({"Host": "x"}, {"Content-Length": "1"}, {"a b": "x"}, {"x": "a\r\nb"}, {"x": 1}):
            fields["mcp_servers"][0]["headers"] = headers
            status, refused = await server.answer(messages=[user("x")], **fields)
            assert status == 400
            assert refused["error"]["message"].startswith("mcp_servers.0")


class Long(McpClient):
    """The client of a server with a long answer."""

    async def tools(self, server: Server, key: str = "") -> list[Listed]:
        return [Listed(name="read", input_schema={})]

    async def call(self, server: Server, tool: str, input: Fields, key: str = "") -> tuple[list[Fields], bool]:
        return [{"type": "text", "text": "bumblebees " * 20_000}], False


async def test_a_long_answer_leaves_room_in_a_small_window() -> None:
    """It takes half of the window at most, so that the message goes on."""
    connector = Connector(Long(Outward()), [Server(name="house", url="http://house.example/mcp")])
    tools = ServerTools(connector=connector)
    async with running(tools, says(call("read"), "Seen."), window=12_000) as server:
        toolset = {"type": "mcp_toolset", "mcp_server_name": "house"}
        message = await server.post(messages=[user("Read.")], tools=[toolset])
    assert message["content"][-1]["text"] == "Seen."
    (text,) = message["content"][1]["content"]
    assert text["text"][24_000:] == "\n[cut here: the result has 220000 characters]"


async def test_servers_of_the_operator() -> None:
    """Any program may name them, also where it may name none of its own; nothing a client sends starts a program."""
    async with listening() as url:
        own = Server(name="house", url=url, trusted=True)
        async with running(offered(own, private=False, open=False), says(ADD, "Five.")) as server:
            toolset = {"type": "mcp_toolset", "mcp_server_name": "house"}
            message = await server.post(messages=[user("Add.")], tools=[toolset])
            assert message["content"][1]["content"][0]["text"] == "5"
            status, answer = await server.answer(messages=[user("Add.")], **naming(url))
            assert (status, "mcp_connector" in answer["error"]["message"]) == (400, True)
            wrong = {"type": "stdio", "name": "x", "url": "", "command": ["true"]}
            status, _ = await server.answer(messages=[user("x")], mcp_servers=[wrong])
            assert status == 400


async def test_where_a_client_may_not_reach() -> None:
    """A server on a private network is refused before a connection is made."""
    async with listening() as url, running(offered(private=False), says("a")) as server:
        for address in (url, url.replace("127.0.0.1", "localhost"), "file:///etc/passwd"):
            status, answer = await server.answer(messages=[user("x")], **naming(address))
            assert status == 400
            assert "MCP server 'things'" in answer["error"]["message"]


async def test_a_server_that_floods_or_is_gone() -> None:
    """The request fails with a sentence, within its time."""
    async with sites.listening(FLOOD) as url, running(offered(seconds=5.0), says("a")) as server:
        for address in (f"{url}/mcp", "http://127.0.0.1:9/mcp"):
            status, answer = await server.answer(messages=[user("x")], **naming(address))
            assert (status, "Connection error" in answer["error"]["message"]) == (400, True)


async def test_a_server_of_ten_thousand_tools() -> None:
    """Is refused in a sentence that says how many there may be: no prompt could hold them."""
    async with sites.listening(CROWD) as url, running(offered(), says("a")) as server:
        status, answer = await server.answer(messages=[user("x")], **naming(f"{url}/crowd"))
    assert status == 400
    assert "more than 1000 tools" in answer["error"]["message"]


async def test_requests_that_ask_at_once_share_a_listing() -> None:
    """And one that is given up leaves it to the others; the next asks anew, since a server may change its list."""
    lists, may_answer = 0, asyncio.Event()

    async def tools() -> list[Fields]:
        nonlocal lists
        lists += 1
        await may_answer.wait()
        return [{"name": "add", "inputSchema": {"type": "object"}}]

    async with sites.listening(web.post("/mcp", lister(tools))) as url:
        client, server = McpClient(Outward(allow_private=True)), Server(name="things", url=f"{url}/mcp")
        given_up, *others = [asyncio.ensure_future(client.tools(server)) for _ in range(20)]
        while not lists:  # noqa: ASYNC110 (the server counts, and tells by no event)
            await asyncio.sleep(0.01)
        given_up.cancel()
        may_answer.set()
        assert {tool.name for listed in await asyncio.gather(*others) for tool in listed} == {"add"}
        assert lists == 1
        await client.tools(server)
    assert lists == 2


class Counting(Outward):
    """Counts what is judged: each connection's address, and each request."""

    judged = 0

    def judge(self, url: str) -> None:
        self.judged += 1
        super().judge(url)


@pytest.mark.parametrize(("kind", "judged"), [("http", 2), ("sse", 3)])
async def test_a_server_that_was_met_is_not_greeted_again(kind: str, judged: int) -> None:
    """Where the protocol has no greeting, a call is one request; tools are not listed for it again."""
    async with listening(kind) as url:
        client, server = McpClient(outward := Counting(allow_private=True)), Server(name="things", url=url)
        assert await client.tools(server)
        outward.judged = 0
        content, wrong = await client.call(server, "add", {"a": 2, "b": 3})
        assert (content, wrong) == ([{"type": "text", "text": "5"}], False)
        assert outward.judged == judged
        await client.close()
