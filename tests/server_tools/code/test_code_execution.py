"""The tool `code_execution` over HTTP: its versions, its blocks, its container from request to request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import anthropic
import pytest

from antiphon.api.errors import BadRequest
from antiphon.server_tools.code import containers
from antiphon.server_tools.code.containers import Containers
from antiphon.server_tools.code.family import CodeExecution
from antiphon.server_tools.code.sandbox import Limits, Sandbox
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.rounds import Bounds
from antiphon.server_tools.set_up import Allowed, set_up
from tests.server_tools.code.sandboxes import needs_sandbox
from tests.server_tools.serving import Running, call, folded, running, says, user
from tests.surfaces import order

PYTHON = {"type": "code_execution_20250522", "name": "code_execution"}
CODE = {"type": "code_execution_20250825", "name": "code_execution"}
RUN = call("code_execution", code="print(6 * 7)")


@asynccontextmanager
async def coding(folder: Path, *outputs: str) -> AsyncIterator[Running]:
    """A server where code runs, and whose model says this."""
    async with running(set_up(Allowed(code=str(folder / "containers"))), says(*outputs)) as server:
        yield server


def results(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The contents of a message's result blocks."""
    return [block["content"] for block in message["content"] if block["type"].endswith("_tool_result")]


def files(folder: Path) -> list[Path]:
    """What is in a folder."""
    return list(folder.iterdir())


@needs_sandbox
async def test_code_runs_and_the_reply_names_its_container(tmp_path: Path) -> None:
    """Whole and streamed alike: a call, its result as the API has it, and where the files are kept."""
    async with coding(tmp_path, RUN, "42.", RUN, "42.") as server:
        asked = {"messages": [user("What is 6 * 7?")], "tools": [PYTHON]}
        whole = await server.post(**asked)
        raw = await server.stream(**asked)
        first, second = (server.engine.jobs[place] for place in (0, 1))
    streamed = folded(raw)
    assert order.check(order.frames(raw)) == "message_stop"
    shown = {"stdout": "42\n", "stderr": "", "return_code": 0, "content": []}
    assert results(whole) == results(streamed) == [{"type": "code_execution_result", **shown}]
    assert whole["content"][0]["input"] == {"code": "print(6 * 7)"}
    assert datetime.fromisoformat(whole["container"]["expires_at"]).timestamp() > 0
    assert b'"container":{"id":"container_' in raw
    known = [*first.prompt, *server.engine.sampled[0]]
    assert list(second.prompt[: len(known)]) == known
    anthropic.types.Message.model_validate(whole)


class Slow(Sandbox):
    """A sandbox that takes its time."""

    async def run(self, action: str, fields: dict[str, Any], archive: Path, target: IO[bytes]) -> dict[str, Any]:
        await asyncio.sleep(0.6)
        return {"stdout": "42\n", "stderr": "", "return_code": 0, "lost": ""}


async def test_each_of_several_runs_has_its_whole_time(tmp_path: Path) -> None:
    """Calls of one round run one after the other, and none is late because of those before it."""
    code = CodeExecution(Slow(Limits()), Containers(tmp_path))
    async with running(ServerTools([code], Bounds(seconds=1.0)), says(RUN + "\n" + RUN, "42.")) as server:
        message = await server.post(messages=[user("What is 6 * 7?")], tools=[PYTHON])
    assert [each.get("stdout") for each in results(message)] == ["42\n", "42\n"]


class Chatty(Sandbox):
    """A sandbox where everything is long."""

    async def run(self, action: str, fields: dict[str, Any], archive: Path, target: IO[bytes]) -> dict[str, Any]:
        text = "bumblebees " * 9_000
        if action == "view":
            return {"content": text, "num_lines": 1, "start_line": 1, "total_lines": 1, "lost": ""}
        return {"stdout": text, "stderr": text, "return_code": 0, "lost": ""}


async def test_what_is_long_leaves_room_in_a_small_window(tmp_path: Path) -> None:
    """What code prints, and what is shown of a file, take half of the window at most, so that the message goes on."""
    view = call("text_editor_code_execution", command="view", path="a.txt")
    for output in (RUN, view):
        code = ServerTools([CodeExecution(Chatty(Limits()), Containers(tmp_path))])
        async with running(code, says(output, "Seen."), window=12_000) as server:
            message = await server.post(messages=[user("Look.")], tools=[CODE])
        assert message["content"][-1]["text"] == "Seen."
        (content,) = results(message)
        told = [content[key] for key in ("stdout", "stderr", "content") if isinstance(content.get(key), str)]
        assert 20_000 < sum(map(len, told)) < 25_000
        assert all("[cut here: the " in text for text in told)


@needs_sandbox
async def test_the_tools_of_later_versions_share_a_container(tmp_path: Path) -> None:
    """What bash writes the editor shows and Python reads, in one request and in the next that names the container; the
    history of both goes on from the same prompt."""
    outputs = (
        call("bash_code_execution", command="echo one > a.txt"),
        call("text_editor_code_execution", command="view", path="a.txt")
        + "\n"
        + call("text_editor_code_execution", command="str_replace", path="a.txt", old_str="one", new_str="two"),
        "There.",
        call("code_execution", code="print(open('a.txt').read())"),
        "Still there.",
    )
    async with coding(tmp_path, *outputs) as server:
        messages = [user("Begin.")]
        first = await server.post(messages=messages, tools=[CODE])
        messages += [{"role": "assistant", "content": first["content"]}, user("And now?")]
        second = await server.post(messages=messages, tools=[CODE], container=first["container"]["id"])
        for at, (before, later) in enumerate(pairwise(server.engine.jobs)):
            known = [*before.prompt, *server.engine.sampled[at]]
            assert list(later.prompt[: len(known)]) == known
    assert [each["type"] for each in results(first)] == [
        "bash_code_execution_result",
        "text_editor_code_execution_view_result",
        "text_editor_code_execution_str_replace_result",
    ]
    assert results(second)[0]["stdout"] == "two\n\n"
    assert second["container"]["id"] == first["container"]["id"]
    anthropic.types.Message.model_validate(first)


@needs_sandbox
async def test_a_call_that_makes_no_sense_is_the_tools_own_error(tmp_path: Path) -> None:
    """With the reason where the block has room for it; the model is told both."""
    output = call("text_editor_code_execution", command="view", path="nope") + "\n" + call("code_execution")
    async with coding(tmp_path, output, "Well.") as server:
        message = await server.post(messages=[user("Begin.")], tools=[CODE])
        assert "file_not_found: path: there is no such file" in server.engine.jobs[1].text
    assert results(message) == [
        {
            "type": "text_editor_code_execution_tool_result_error",
            "error_code": "file_not_found",
            "error_message": "path: there is no such file",
        },
        {"type": "code_execution_tool_result_error", "error_code": "invalid_tool_input"},
    ]


async def test_without_bubblewrap_the_tool_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is made, and its result says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    async with coding(tmp_path, RUN, "I cannot.") as server:
        message = await server.post(messages=[user("What is 6 * 7?")], tools=[PYTHON])
    assert results(message) == [{"type": "code_execution_tool_result_error", "error_code": "unavailable"}]


async def test_a_container_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Before anything is generated; and where no code runs, the field is named as ignored."""
    async with coding(tmp_path, "Well.") as server:
        status, answer = await server.answer(messages=[user("x")], tools=[CODE], container="container_x")
        assert (status, answer["error"]["message"].partition(":")[0]) == (400, "container")
        status, _ = await server.answer(messages=[user("x")], tools=[CODE], container={"id": None, "skills": None})
        assert status == 200
    async with running(ServerTools(), says("Well.")) as server:
        assert (await server.post(messages=[user("x")], container="container_x"))["container"] is None


async def test_containers_belong_to_their_key_and_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key does not find one; nobody finds one that was not used for long, and its files go."""
    kept = Containers(tmp_path)
    one = await kept.make("a key")
    assert kept.find(one.id, "a key").expires >= one.expires
    with pytest.raises(BadRequest):
        kept.find(one.id, "another")
    (folder,) = files(tmp_path)
    long_ago = os.stat(folder).st_mtime - containers.KEPT_SECONDS - 1
    os.utime(folder, (long_ago, long_ago))
    with pytest.raises(BadRequest):
        kept.find(one.id, "a key")
    kept.sweep()
    assert not files(tmp_path)


async def test_a_container_is_used_by_one_run_at_a_time(tmp_path: Path) -> None:
    """What one keeps, the next one sees; what is not kept is forgotten."""
    kept = Containers(tmp_path)
    id = (await kept.make("")).id
    async with kept.use(id, "") as first:
        first.replacement.write(b"one")
        first.keep()
    async with kept.use(id, "") as second:
        assert second.archive.read_bytes() == b"one"
        second.replacement.write(b"two")
    async with kept.use(id, "") as third:
        assert third.archive.read_bytes() == b"one"
    (folder,) = files(tmp_path)
    assert [path.name for path in files(folder)] == ["files.tar"]
