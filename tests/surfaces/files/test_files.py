"""The Files API as the official SDK calls it, over each kind of store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import msgspec
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import FileNotDownloadableError, StorageQuotaExceededError

from antiphon import surfaces
from antiphon.accounts.accounts import Accounts
from antiphon.accounts.keyring import Keyring
from antiphon.api.citations import Citation
from antiphon.api.conversation import Image
from antiphon.batches import worker
from antiphon.batches.requests import Item
from antiphon.batches.store import Batch
from antiphon.settings.keys import hashed, label
from antiphon.storage.file_store import FileStore
from antiphon.storage.store import open_store
from antiphon.surfaces import files as surface
from antiphon.surfaces.messages.citations import CharLocation, location
from tests.loopback import listening
from tests.storage.places import Place, local
from tests.surfaces.scripted_service import ScriptedService

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


class Running(msgspec.Struct):
    """A server with files: the service behind it, its address, a client for each of two keys."""

    service: ScriptedService
    url: str
    files: FileStore
    mine: AsyncAnthropic
    theirs: AsyncAnthropic


@asynccontextmanager
async def running(place: Place, **bounds: Any) -> AsyncIterator[Running]:
    # Each test has its keys, and so its files.
    keys = [os.urandom(8).hex() for _ in range(2)]
    files = FileStore(store=open_store(place.records, place.contents), **{"downloadable": True, **bounds})
    service = ScriptedService()
    options = surfaces.Options(
        seal_key=b"k" * 32, accounts=Accounts(keys=Keyring(tuple(map(hashed, keys)))), files=files
    )
    async with listening(surfaces.build(service, options)) as url:  # type: ignore[arg-type]
        clients = [AsyncAnthropic(base_url=url, api_key=key, max_retries=0) for key in keys]
        yield Running(service, url, files, *clients)
        for client in clients:
            await client.close()
    files.store.close()


async def test_a_file_from_upload_to_deletion(place: Place) -> None:
    """Upload, metadata, content, list, deletion: what was told at first is told ever after, until it is gone."""
    content = os.urandom(1_300_000)
    async with running(place) as server:
        files = server.mine.beta.files
        file = await files.upload(
            file=("folder/some näme.bin", content, "application/x-thing"), expires_in_seconds=3600
        )
        assert (file.filename, file.mime_type, file.size_bytes) == ("some näme.bin", "application/x-thing", 1_300_000)
        assert file.type == "file"
        assert file.downloadable
        assert file.expires_at is not None
        assert (file.expires_at - file.created_at).total_seconds() == 3600
        assert await files.retrieve_metadata(file.id) == file
        assert await (await files.download(file.id)).read() == content
        assert [each async for each in files.list()] == [file]
        deleted = await files.delete(file.id)
        assert (deleted.id, deleted.type) == (file.id, "file_deleted")
        assert [each async for each in files.list()] == []
        for call in (files.retrieve_metadata, files.download, files.delete):
            with pytest.raises(anthropic.NotFoundError, match="File not found"):
                await call(file.id)


async def test_another_key_sees_nothing(place: Place) -> None:
    """A file of another key is none, whatever is asked of it."""
    async with running(place) as server:
        file = await server.mine.beta.files.upload(file=("a.txt", b"mine"))
        theirs = server.theirs.beta.files
        assert [each async for each in theirs.list()] == []
        assert (await theirs.list(ids=[file.id])).data == []
        for call in (theirs.retrieve_metadata, theirs.download, theirs.delete):
            with pytest.raises(anthropic.NotFoundError):
                await call(file.id)
        with pytest.raises(anthropic.NotFoundError, match=rf"messages\.0\.content\.0.*File not found: {file.id}"):
            await server.theirs.messages.create(**asking(document(file.id)))
        assert (await server.mine.beta.files.retrieve_metadata(file.id)).id == file.id


async def test_every_file_is_on_one_page(place: Place) -> None:
    """Every file is on one page, the latest first, whichever way the pages are asked for."""
    async with running(place) as server:
        files = server.mine.beta.files
        ids = [(await files.upload(file=(f"{n}.txt", b"x"))).id for n in range(5)][::-1]
        assert [each.id async for each in files.list(limit=2)] == ids
        assert [each.id for each in (await files.list(ids=[ids[3], "file_none", ids[1]])).data] == [ids[1], ids[3]]

        async def named(**query: str) -> tuple[list[str], bool]:
            page: Any = await server.mine.get("/v1/files", options={"params": query}, cast_to=object)
            return [each["id"] for each in page["data"]], page["has_more"]

        assert await named(limit="2", after_id=ids[0]) == (ids[1:3], True)
        assert await named(limit="2", before_id=ids[4]) == (ids[2:4], True)
        assert await named(before_id=ids[1]) == (ids[:1], False)
        await files.delete(ids[1])
        assert await named(limit="2", after_id=ids[1]) == (ids[2:4], True)
        assert await named(before_id=ids[1]) == (ids[:1], False)
        with pytest.raises(anthropic.NotFoundError, match="after_id: File not found: file_none"):
            await named(after_id="file_none")
        # Whoever cleans up behind a session must not get the files of others.
        assert (await files.list(scope_id="session_x")).data == []
        huge = "000000001" + "0" * 5000
        for query in ({"limit": "0"}, {"limit": huge}, {"page": "page_x"}, {"ids[]": ids[0], "limit": "1"}):
            with pytest.raises(anthropic.BadRequestError):
                await named(**query)
        async for each in files.list(limit=2):
            await files.delete(each.id)
        assert await named() == ([], False)


def asking(block: dict[str, Any], model: str = "seeing-model") -> dict[str, Any]:
    messages = [{"role": "user", "content": [block, {"type": "text", "text": "What is it?"}]}]
    return {"model": model, "max_tokens": 10, "messages": messages}


def document(id: str) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "file", "file_id": id}, "title": "Notes"}


async def test_requests_name_files(place: Place) -> None:
    """A file's text or picture reaches the model as if it were in the request; what is no picture is refused."""
    async with running(place) as server:
        upload = server.mine.beta.files.upload
        notes, picture = await upload(file=("notes.txt", b"Buy milk.")), await upload(file=("dot.png", PNG))
        assert picture.mime_type == "image/png"
        await server.mine.messages.create(**asking(document(notes.id)))
        (turn,) = server.service.conversation.turns
        assert "Buy milk." in turn.parts[0].text  # type: ignore[union-attr]
        server.service.script = ScriptedService().script
        await server.mine.messages.create(**asking({**document(notes.id), "citations": {"enabled": True}}))
        (source,) = server.service.conversation.sources
        cited = location(Citation(source, 0, 1))
        assert isinstance(cited, CharLocation)
        assert (cited.cited_text, cited.file_id) == ("Buy milk.", notes.id)
        image = {"type": "image", "source": {"type": "file", "file_id": picture.id}}
        server.service.script = ScriptedService().script
        await server.mine.messages.create(**asking(image))
        assert Image("image/png", PNG) in server.service.conversation.turns[0].parts
        image["source"] = {"type": "file", "file_id": notes.id}
        with pytest.raises(anthropic.BadRequestError, match=r"image\.source\.file\.file_id: the file is text/plain"):
            await server.mine.messages.create(**asking(image))


async def test_batches_name_files(tmp_path: Path) -> None:
    """A request of a batch sees the files of the key that sent the batch; one that was deleted before it is answered is
    that request's error."""
    async with running(local(tmp_path)) as server:
        files = server.mine.beta.files
        file = await files.upload(file=("notes.txt", b"Buy milk."))
        application = surfaces.build(
            server.service,  # type: ignore[arg-type]
            surfaces.Options(seal_key=b"k" * 32, files=server.files),
        )
        owner = label(hashed(server.mine.api_key or ""))
        headers = {"anthropic-version": "2023-06-01"}
        batch = Batch(id="msgbatch_a", owner=owner, created=0, total=2, headers=headers)
        item = Item("a", msgspec.Raw(msgspec.json.encode(asking(document(file.id)))))
        assert (await worker.post(application, item, batch)).status == 200
        await files.delete(file.id)
        answer = await worker.post(application, item, batch)
        error = msgspec.json.decode(answer.body)["error"]
        assert (answer.status, answer.again, error["type"]) == (404, False, "not_found_error")
        assert f"File not found: {file.id}" in error["message"]


async def test_what_is_too_large_is_refused_whole(tmp_path: Path) -> None:
    """A file that is too large, or more than the key may keep, is refused whole; deleting makes room."""
    async with running(local(tmp_path), largest=500_000, quota=700_000) as server:
        files = server.mine.beta.files
        first = await files.upload(file=("a", b"x" * 400_000))
        with pytest.raises(StorageQuotaExceededError, match="400000 of 700000 bytes are in use"):
            await files.upload(file=("b", b"x" * 400_000))
        with pytest.raises(anthropic.APIStatusError) as large:
            await files.upload(file=("c", b"x" * 600_000))
        assert large.value.status_code == 413
        await server.theirs.beta.files.upload(file=("b", b"x" * 400_000))
        await files.delete(first.id)
        await files.upload(file=("b", b"x" * 400_000))
        assert len(await server.files.store.contents.names("files", -10)) == 2


async def test_uploads_stay_here_unless_they_may_be_fetched(tmp_path: Path) -> None:
    """As with the original, where the operator says nothing else."""
    async with running(local(tmp_path), downloadable=False) as server:
        file = await server.mine.beta.files.upload(file=("a", b"x"))
        assert file.downloadable is False
        with pytest.raises(FileNotDownloadableError):
            await server.mine.beta.files.download(file.id)


async def test_time_and_leftovers_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose time is over is gone at once, its bytes with the next sweep, and what has no record with them."""
    monkeypatch.setattr("antiphon.storage.file_store._LEFT_BEHIND", -10)
    async with running(local(tmp_path), keep=3600) as server:
        old, new = [(await server.mine.beta.files.upload(file=("a", b"x"))).id for _ in range(2)]
        await server.files.write("file_orphan", server.files.read(new))
        monkeypatch.setattr("time.time", lambda now=server.files: 2**31)
        assert [each async for each in server.mine.beta.files.list()] == []
        await server.files.sweep()
        assert old
        assert await server.files.store.contents.names("files", -(2.0**32)) == []


async def test_a_sweep_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it fails of."""
    swept = asyncio.Event()
    failures: list[Exception] = [ValueError("bad"), OSError("full")]

    async def sweep(_: FileStore) -> None:
        if failures:
            raise failures.pop()
        swept.set()

    monkeypatch.setattr(FileStore, "sweep", sweep)
    monkeypatch.setattr(surface, "_SWEEP", 0)
    place = local(tmp_path)
    sweeping = asyncio.ensure_future(surface._sweep(FileStore(store=open_store(place.records, place.contents))))
    await asyncio.wait([sweeping, waiting := asyncio.ensure_future(swept.wait())], return_when="FIRST_COMPLETED")
    assert not sweeping.done()
    for task in (sweeping, waiting):
        task.cancel()


async def post(server: Running, kind: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON of an upload that no SDK would make."""
    headers = {"x-api-key": server.mine.api_key or "", "content-type": kind}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{server.url}/v1/files", data=body, headers=headers) as response,
    ):
        return response.status, await response.json()


def field(name: object, value: str = "x") -> bytes:
    """A field of a form."""
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\nx\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("application/json", b"{}", "must be multipart/form-data"),
        ("multipart/form-data", b"{}", "with a boundary"),
        ("multipart/form-data; boundary=" + 300 * "b", b"", "a boundary of at most"),
        ("multipart/form-data; boundary=b", b"", "cut short"),
        ("multipart/form-data; boundary=b", b"nonsense", "cannot be read"),
        ("multipart/form-data; boundary=b", FORM[:-8], "cut short"),
        ("multipart/form-data; boundary=b", FORM.replace(b'"file"', b'"other"'), "file: Field required"),
        ("multipart/form-data; boundary=b", FORM.replace(b"--b--\r\n", b"") + FORM, "an upload has one file"),
        ("multipart/form-data; boundary=b", FORM.replace(b"%s", b"x" * 300), "255 characters"),
        ("multipart/form-data; boundary=b", b"".join(map(field, range(40))) + FORM, "more than 32 fields"),
        ("multipart/form-data; boundary=b", field("expires_in_seconds", "00000003600" + "0" * 9) + FORM, "expires_in"),
    ],
)
async def test_broken_forms_are_refused_and_leave_nothing(tmp_path: Path, kind: str, body: bytes, said: str) -> None:
    """Each is told in a sentence, and nothing of it is kept."""
    async with running(local(tmp_path)) as server:
        status, told = await post(server, kind, body)
        assert (status, told["error"]["type"]) == (400, "invalid_request_error")
        assert said in told["error"]["message"]
        assert await server.files.store.contents.names("files", -10) == []


@pytest.mark.parametrize(
    ("given", "name"),
    [("", "unnamed"), ("C:\\folder\\a.txt", "a.txt"), ("/etc/passwd", "passwd"), ("a.txt", "a.txt")],
)
async def test_names_of_files(tmp_path: Path, given: str, name: str) -> None:
    """The last part of a path alone is kept, and what has no name gets one."""
    async with running(local(tmp_path)) as server:
        kind, body = "multipart/form-data; boundary=b", FORM.replace(b"%s", given.encode())
        status, file = await post(server, kind, body)
        assert (status, file["filename"].partition(".bin")[0]) == (200, name)
