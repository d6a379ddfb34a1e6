"""The Files API: uploads that later requests name by their ids."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from urllib.parse import quote

import msgspec
from starlette.types import ASGIApp

from antiphon.api.errors import BadRequest, NotFound, NotKept
from antiphon.serving.service import Service
from antiphon.storage import files
from antiphon.storage.file_store import FileRecord, FileStore, OverQuota
from antiphon.storage.repeating import repeat
from antiphon.surfaces.anthropic import failures
from antiphon.surfaces.content import downloads
from antiphon.surfaces.files import shapes
from antiphon.surfaces.files.shapes import DeletedFile, FileMetadata, FilePage
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.http.multipart import Form
from antiphon.surfaces.http.validation import whole_number
from antiphon.surfaces.ids import made_at
from antiphon.surfaces.surface import Operation, Options, Parameter, Route, Surface, Work

log = logging.getLogger("antiphon")

_PLACE = "/files"
_FRAME = 64 * 1024
"""Bytes that a form may have beside its file."""
_SHORTEST, _LONGEST = 3600, 90 * 24 * 3600
_SWEEP = 3600.0


class _Files:
    def __init__(self, options: Options) -> None:
        self._options = options

    def routes(self) -> list[Route]:
        return [
            Route(method="POST", path=_PLACE, answer=self._upload, operation=_UPLOAD),
            Route(method="GET", path=_PLACE, answer=self._list, operation=_LIST),
            Route(method="GET", path=f"{_PLACE}/*", answer=self._one, operation=_ONE),
            Route(method="DELETE", path=f"{_PLACE}/*", answer=self._delete, operation=_DELETE),
            Route(method="GET", path=f"{_PLACE}/*/content", answer=self._content, operation=_CONTENT),
        ]

    async def _upload(self, exchange: Exchange) -> None:
        store = self._file_store()
        if (exchange.header("content-encoding") or "identity").strip().lower() != "identity":
            raise BadRequest("content-encoding: an upload must be sent without one")
        form = Form(exchange.header("content-type") or "", exchange.chunks(store.largest + _FRAME))

        async def checked() -> AsyncIterator[bytes]:
            """The bytes, which are not kept where the rest of the form is wrong."""
            async for piece in form.pieces():
                yield piece
            shapes.name_and_type(form.filename, form.media_type)
            _lifetime(form.fields, store.keep)

        id = self._options.new_id("file_")
        with self._store("this file"):
            size = await store.write(id, checked())
        created = made_at(id) or self._options.clock()
        filename, mime_type = shapes.name_and_type(form.filename, form.media_type)
        lifetime = _lifetime(form.fields, store.keep)
        record = FileRecord(
            id=id,
            owner=exchange.watch.key,
            filename=filename,
            mime_type=mime_type,
            size=size,
            created=created,
            expires=created + lifetime if lifetime else None,
            downloadable=store.downloadable,
        )
        try:
            with self._store("this file"):
                await store.add(record)
        except OverQuota as over:
            raise BadRequest(
                f"the files of this key would take more than it may keep: {over.used} of {over.quota} bytes are in "
                f"use, and this file has {size}; delete some first",
                code="storage_quota_exceeded",
            ) from None
        await _tell(exchange, shapes.metadata(record))

    async def _list(self, exchange: Exchange) -> None:
        store = self._file_store()
        with self._store("files"):
            page = await shapes.page(store, exchange.watch.key, exchange.queries)
        await _tell(exchange, page)

    async def _one(self, exchange: Exchange) -> None:
        await _tell(exchange, shapes.metadata(await self._record(exchange)))

    async def _delete(self, exchange: Exchange) -> None:
        record = await self._record(exchange)
        with self._store("the deletion"):
            await self._file_store().delete(record.id)
        await _tell(exchange, DeletedFile(record.id))

    async def _content(self, exchange: Exchange) -> None:
        record = await self._record(exchange)
        if not record.downloadable:
            raise BadRequest(
                f"{record.id} is not downloadable: it was uploaded, and this server does not give uploads back "
                "(its operator can allow it with --files-downloadable)",
                code="file_not_downloadable",
            )
        headers = [
            (b"content-type", record.mime_type.encode("latin-1", "replace")),
            (b"content-length", str(record.size).encode()),
            (b"content-disposition", f"attachment; filename*=UTF-8''{quote(record.filename)}".encode()),
            # What is kept here is anybody's: no browser may take it for a page of this server.
            (b"x-content-type-options", b"nosniff"),
        ]
        pieces = self._file_store().read(record.id)
        await downloads.send(exchange, headers, pieces, self._store("this file"))

    async def _record(self, exchange: Exchange) -> FileRecord:
        """The file that the path names, if it is one of this client's."""
        store = self._file_store()
        with self._store("files"):
            record = await store.get(exchange.rest, exchange.watch.key)
        if record is None:
            raise NotFound(f"File not found: {exchange.rest}")
        return record

    def _file_store(self) -> FileStore:
        if self._options.files is None:
            raise NotFound("this server keeps no files")
        return self._options.files

    @contextlib.contextmanager
    def _store(self, what: str) -> Iterator[None]:
        """Tell the client what the store has refused to keep."""
        try:
            yield
        except OSError as error:
            place, option = self._file_store().store.source(error)
            raise NotKept(files.refusal(what, error, place, option)) from error


def _lifetime(fields: dict[str, str], usual: float) -> float:
    """For how many seconds a file is kept; 0 is for good."""
    seconds = fields.get("expires_in_seconds")
    if seconds is None:
        return usual
    return whole_number(seconds, "expires_in_seconds", _SHORTEST, _LONGEST)


async def _tell(exchange: Exchange, reply: msgspec.Struct) -> None:
    await exchange.reply(200, msgspec.json.encode(reply))


def _tend(service: Service, application: ASGIApp, options: Options) -> Work | None:
    """Take away what nobody needs any more, from time to time."""
    return partial(_sweep, options.files) if options.files else None


async def _sweep(store: FileStore) -> None:
    await repeat(store.sweep, "expired files could not be deleted and stay for now", _SWEEP)


def _routes(service: Service, options: Options) -> list[Route]:
    return _Files(options).routes()


_ID = (Parameter("file_id", "path", "The id of the file.", required=True),)
_FILE = {"application/json": FileMetadata}
_UPLOAD = Operation(
    summary="Upload a file",
    description="A form (`multipart/form-data`) with the file in the field `file`. `expires_in_seconds` may set "
    "how long it is kept.",
    form={
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "expires_in_seconds": {"type": "integer", "minimum": _SHORTEST, "maximum": _LONGEST},
        },
        "required": ["file"],
    },
    replies=_FILE,
)
_LIST = Operation(
    summary="List the files of this key", replies={"application/json": FilePage}, parameters=shapes.PARAMETERS
)
_ONE = Operation(summary="Describe a file", replies=_FILE, parameters=_ID, rest="file_id")
_DELETE = Operation(summary="Delete a file", replies={"application/json": DeletedFile}, parameters=_ID, rest="file_id")
_CONTENT = Operation(
    summary="Download a file",
    replies={"application/octet-stream": str},
    parameters=_ID,
    rest="file_id",
)
SURFACE = Surface(
    name="files",
    routes=_routes,
    failures=failures.FAILURES,
    tend=_tend,
)
