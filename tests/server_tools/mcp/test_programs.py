"""MCP servers that are programs of the operator's: one process for each key, kept while it is used."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from antiphon.server_tools.mcp.client import McpClient, Server
from antiphon.server_tools.mcp.connector import Connector
from antiphon.server_tools.mcp.sessions import Owner, Sessions
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import ToolFailed
from antiphon.server_tools.web.outward import Outward
from tests.faults.processes import ended
from tests.server_tools.serving import call, running, says, user

PROGRAM = str(Path(__file__).with_name("program.py"))


def server(kind: str = "") -> Server:
    return Server(name="house", command=(sys.executable, "-S", PROGRAM, kind), trusted=True)


@asynccontextmanager
async def clients() -> AsyncIterator[McpClient]:
    client = McpClient(Outward())
    try:
        yield client
    finally:
        await client.close()


async def said(client: McpClient, tool: str, key: str = "", kind: str = "") -> str:
    """What a tool answers."""
    content, wrong = await client.call(server(kind), tool, {}, key)
    assert not wrong
    return str(content[0]["text"])


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    async with asyncio.timeout(30):
        while not ended(pid):  # noqa: ASYNC110 (it is nobody's child here)
            await asyncio.sleep(0.02)


async def test_a_process_is_kept_for_its_key() -> None:
    """Calls of one key meet what its calls before left; those of another key have a process of their own. Both end when
    the server does, with what they started."""
    async with clients() as client:
        await client.tools(server(), "a")
        first, second = [(await said(client, "count", "a")).split() for _ in range(2)]
        assert first[0] == second[0]
        assert (first[1], second[1]) == ("1", "2")
        other = (await said(client, "count", "b")).split()
        assert other[0] != first[0]
        assert other[1] == "1"
        child = int(await said(client, "child", "b"))
    for pid in (int(first[0]), int(other[0]), child):
        await gone(pid)


async def test_calls_at_once_share_the_process_that_starts() -> None:
    """However many ask for it first."""
    async with clients() as client:
        answers = await asyncio.gather(*(said(client, "count") for _ in range(5)))
    assert len({each.split()[0] for each in answers}) == 1


async def test_rounds_of_a_message_and_the_next_message_share_a_process() -> None:
    """As a browser or a database needs it."""
    tools = ServerTools(connector=Connector(McpClient(Outward()), [server()]))
    toolset = {"type": "mcp_toolset", "mcp_server_name": "house"}
    script = says(call("count"), call("count"), "Two.", call("count"), "Three.")
    async with running(tools, script) as serving:
        blocks = []
        for _ in range(2):
            message = await serving.post(messages=[user("Count.")], tools=[toolset])
            blocks += [block for block in message["content"] if block["type"] == "mcp_tool_result"]
    answers = [block["content"][0]["text"].split() for block in blocks]
    assert [count for _, count in answers] == ["1", "2", "3"]
    assert len({pid for pid, _ in answers}) == 1
    await gone(int(answers[0][0]))


async def test_a_process_that_dies_in_a_call() -> None:
    """The call has failed, and is not made again; the next one has a new process."""
    async with clients() as client:
        before = await said(client, "count")
        with pytest.raises(ToolFailed, match="its process ended"):
            await said(client, "die")
        after = await said(client, "count")
    assert after.split()[0] != before.split()[0]
    assert after.split()[1] == "1"


async def test_a_process_that_died_between_calls_is_not_noticed() -> None:
    """The next call has a new one."""
    async with clients() as client:
        pid = int((await said(client, "count")).split()[0])
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        assert (await said(client, "count")).split()[1] == "1"


async def test_a_call_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that only was slow keeps its process; one that hangs gets a new one, and the old one ends."""
    async with clients() as client:
        pid = (await said(client, "count")).split()[0]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await said(client, "sleep")
        assert (await said(client, "count")).split() == [pid, "3"]
        monkeypatch.setattr("antiphon.server_tools.mcp.sessions._PROOF", 0.1)
        monkeypatch.setattr("antiphon.server_tools.mcp.process._LEAVES", 0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await said(client, "hang")
        assert (await said(client, "count")).split()[1] == "1"
        await gone(int(pid))


async def test_words_between_the_messages(caplog: pytest.LogCaptureFixture) -> None:
    """Are left out, and the operator is told once."""
    async with clients() as client:
        assert [(await said(client, "count", kind="chatty")).split()[1] for _ in range(2)] == ["1", "2"]
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "'Loading…'" in told


async def test_more_than_a_line_may_have() -> None:
    """Ends the process, and the next call has a new one."""
    async with clients() as client:
        with pytest.raises(ToolFailed, match="more than 8388608 bytes"):
            await said(client, "flood")
        assert (await said(client, "count")).split()[1] == "1"


async def test_programs_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there, one that ends, one that never answers: a failure each, and nothing is left of them."""
    monkeypatch.setattr("antiphon.server_tools.mcp.sessions._STARTS", 0.5)
    async with clients() as client:
        with pytest.raises(ToolFailed, match="FileNotFoundError"):
            await client.tools(Server(name="house", command=("/no/such/program",)))
        for kind in ("broken", "deaf"):
            with pytest.raises(ToolFailed):
                await client.tools(server(kind))


async def test_a_server_that_stops_does_not_wait_for_one_that_starts() -> None:
    """What waited for it has failed."""
    async with clients() as client:
        listing = asyncio.ensure_future(client.tools(server("deaf")))
        while not client._sessions._sessions:  # noqa: ASYNC110 (the process is nobody's to wait for)
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ToolFailed):
            await listing


async def test_processes_are_bounded_and_end_when_unused() -> None:
    """Beyond the bound the one that was not used for the longest time ends; where all are in use the call fails."""
    sessions = Sessions(1 << 20, most=2, idle=0.3)
    owners = [Owner("house", server().command, key) for key in "abc"]

    async def pid(owner: Owner) -> int:
        async with sessions.connected(owner) as client:
            result = await client.call_tool("count", {})
            return int(result.content[0].text.split()[0])  # type: ignore[union-attr]

    first, second = await pid(owners[0]), await pid(owners[1])
    async with sessions.connected(owners[1]):
        third = await pid(owners[2])
        await gone(first)
        async with sessions.connected(owners[2]):
            with pytest.raises(ToolFailed, match="all 2 processes"):
                await pid(owners[0])
    await gone(second)
    await gone(third)
    await sessions.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems close the input of the process, and no more")
def test_a_process_does_not_outlive_a_killed_worker() -> None:
    """Even one that does not read its input."""
    worker = (
        "import asyncio\n"
        "from antiphon.server_tools.mcp.process import ServerProcess\n"
        "async def main():\n"
        "    async with ServerProcess('house', ['sh', '-c', 'echo $$ >&2; exec sleep 60'], 1000).streams():\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    running = subprocess.Popen([sys.executable, "-c", worker], stderr=subprocess.PIPE, text=True)
    with running:
        assert running.stderr
        pid = int(running.stderr.readline())
        running.kill()
    asyncio.run(gone(pid))
