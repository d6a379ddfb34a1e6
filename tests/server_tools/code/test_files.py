"""Files that clients put into a container, and files that code makes there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
from anthropic import AsyncAnthropic

from antiphon.process.parts import server_tools
from antiphon.settings.sources import Settings
from antiphon.storage.file_store import FileStore
from antiphon.storage.store import open_store
from tests.server_tools.code.sandboxes import needs_sandbox
from tests.server_tools.code.test_code_execution import CODE, results
from tests.server_tools.serving import Running, call, running, says, user
from tests.storage.places import local

COPY = call(
    "bash_code_execution", command="sort data.csv > sorted.csv; mkdir -p out __pycache__; cp data.csv out/copy.bin"
)


@asynccontextmanager
async def coding(folder: Path, *outputs: str, **bounds: Any) -> AsyncIterator[tuple[Running, AsyncAnthropic]]:
    """A server where code runs and files are kept, and a client of it."""
    place = local(folder)
    files = FileStore(store=open_store(place.records, place.contents), **bounds)
    tools = server_tools(Settings(code_execution=True, state_dir=str(folder)), files)
    async with (
        running(tools, says(*outputs), files=files, store=files.store) as server,
        AsyncAnthropic(base_url=server.url, api_key="any", max_retries=0) as client,
    ):
        yield server, client
    files.store.close()


def upload(id: str) -> dict[str, Any]:
    return {"type": "container_upload", "file_id": id}


@needs_sandbox
async def test_files_go_in_and_come_out(tmp_path: Path) -> None:
    """What was uploaded is there before the first run; what a run makes is downloaded by the id in its result, and what
    it left as it was has none. The next turn finds what code made of them, and goes on from the same prompt."""
    change = call("code_execution", code="open('data.csv', 'w').write('changed')")
    look = call("bash_code_execution", command="cat data.csv")
    async with coding(tmp_path, COPY, "Done.", change, "Changed.", look, "So.") as (server, client):
        file = await client.beta.files.upload(file=("data.csv", b"b\na\n"))
        messages: list[Any] = [user([upload(file.id), {"type": "text", "text": "Sort it."}])]
        first = await server.post(messages=messages, tools=[CODE])
        made = results(first)[0]["content"]
        assert {each["type"] for each in made} == {"bash_code_execution_output"}
        contents = {}
        for each in made:
            about = await client.beta.files.retrieve_metadata(each["file_id"])
            contents[about.filename] = await (await client.beta.files.download(each["file_id"])).read()
            assert about.downloadable
        assert contents == {"sorted.csv": b"a\nb\n", "copy.bin": b"b\na\n"}
        for text in ("Change it.", "Show it."):
            messages += [{"role": "assistant", "content": first["content"]}, user(text)]
            first = await server.post(messages=messages, tools=[CODE], container=first["container"]["id"])
            anthropic.types.beta.BetaMessage.model_validate(first)
        assert results(first)[0]["stdout"] == "changed"
        assert results(first)[0]["content"] == []
        for at in range(len(server.engine.jobs) - 1):
            known = [*server.engine.jobs[at].prompt, *server.engine.sampled[at]]
            assert list(server.engine.jobs[at + 1].prompt[: len(known)]) == known
        assert "uploaded file data.csv" in server.engine.jobs[0].text


async def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """With the path of the block; without code that runs, the block is told as omitted."""
    async with coding(tmp_path, "Well.") as (server, _):
        asked = {"messages": [user([{"type": "text", "text": "See"}, upload("file_none")])]}
        status, answer = await server.answer(**asked, tools=[CODE])
        assert (status, answer["error"]["message"]) == (
            404,
            "messages.0.content.1.container_upload.file_id: File not found: file_none",
        )
        await server.post(**asked)
        assert "file_none omitted" in server.engine.jobs[0].text


@needs_sandbox
async def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    """Beyond the quota of the key: the run goes on, the file has no id, and the output says so."""
    run = call("bash_code_execution", command="head -c 5000 /dev/zero > big; echo > small")
    async with coding(tmp_path, run, "Done.", quota=1000) as (server, _):
        result = results(await server.post(messages=[user("Go.")], tools=[CODE]))[0]
    assert (len(result["content"]), result["return_code"]) == (1, 0)
    assert "big: " in result["stderr"]


@needs_sandbox
async def test_two_uploads_of_one_name(tmp_path: Path) -> None:
    """Both are there: the second has its id before its name."""
    show = call("bash_code_execution", command="cat *a.txt")
    async with coding(tmp_path, show, "So.") as (server, client):
        ids = [(await client.beta.files.upload(file=("a.txt", b"%d\n" % n))).id for n in range(2)]
        message = await server.post(
            messages=[user([*map(upload, ids), {"type": "text", "text": "Show"}])], tools=[CODE]
        )
    assert sorted(results(message)[0]["stdout"].split()) == ["0", "1"]
