"""What the Files API sends, and how files are named and listed."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from antiphon.api.errors import BadRequest, NotFound
from antiphon.storage.file_store import FileRecord, FileStore
from antiphon.surfaces.http.validation import whole_number
from antiphon.surfaces.ids import made_at
from antiphon.surfaces.surface import Parameter

PARAMETERS = (
    Parameter("limit", "query", "How many to list at most.", Annotated[int, Meta(ge=1, le=1000)]),
    Parameter("page", "query", "The `next_page` of the previous page."),
    Parameter("ids[]", "query", "List only these, 100 at most; may be repeated."),
    Parameter("after_id", "query", "List what comes after this id."),
    Parameter("before_id", "query", "List what comes before this id."),
    Parameter("scope_id", "query", "List only files of this scope, such as a session: none, for there are none here."),
)
"""The parameters of a list."""
_USUAL = 20
_MOST_IDS = 100
_PAGE = "page_"
_LONGEST_NAME = 255
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class FileMetadata(msgspec.Struct, kw_only=True):
    """What is known of a file."""

    id: str
    type: Literal["file"] = "file"
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    expires_at: str | None
    downloadable: bool
    scope: None = None


class FilePage(msgspec.Struct, kw_only=True):
    """Some of the files, the latest first. `next_page` asks for those that follow."""

    data: list[FileMetadata]
    next_page: str | None
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedFile(msgspec.Struct):
    """A file was forgotten."""

    id: str
    type: Literal["file_deleted"] = "file_deleted"


def metadata(record: FileRecord) -> FileMetadata:
    """A file as its client sees it."""
    return FileMetadata(
        id=record.id,
        filename=record.filename,
        mime_type=record.mime_type,
        size_bytes=record.size,
        created_at=_time(record.created),
        expires_at=_time(record.expires) if record.expires else None,
        downloadable=record.downloadable,
    )


def name_and_type(filename: str, media_type: str) -> tuple[str, str]:
    """The name of a file, without folders, and its type; what is not told of them is guessed. Raises BadRequest."""
    name = re.split(r"[/\\]", filename)[-1]
    if len(name) > _LONGEST_NAME or _CONTROLS.search(name):
        raise BadRequest(f"file: the name must have at most {_LONGEST_NAME} characters, and no control characters")
    kind = media_type.strip().lower()
    if not re.fullmatch(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", kind):
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return name or "unnamed" + (mimetypes.guess_extension(kind) or ""), kind


async def page(files: FileStore, owner: str, query: Mapping[str, list[str]]) -> FilePage:
    """The files that a query asks for. Raises BadRequest, NotFound and OSError."""
    one = {name: values[-1] for name, values in query.items()}
    if one.get("scope_id"):
        return _page([], more=False)
    if ids := [*query.get("ids[]", []), *query.get("ids", [])]:
        return await _named(files, owner, list(dict.fromkeys(ids)), one)
    most = whole_number(one.get("limit") or str(_USUAL), "limit", 1, 1000)
    after = _place(one["page"]) if one.get("page") else None
    if one.get("after_id"):
        after = await _place_of(files, owner, one["after_id"], "after_id")
    before = await _place_of(files, owner, one["before_id"], "before_id") if one.get("before_id") else None
    records = await files.page(owner, most + 1, after=after, before=before)
    more = len(records) > most
    if more:
        # Backwards, the one too many is the first.
        records = records[1:] if before and not after else records[:most]
    return _page(records, more)


async def _named(files: FileStore, owner: str, ids: list[str], query: Mapping[str, str]) -> FilePage:
    if len(ids) > _MOST_IDS:
        raise BadRequest(f"ids: {_MOST_IDS} ids at most")
    if query.get("page") or query.get("limit"):
        raise BadRequest("ids: cannot be used together with page or limit")
    return _page(await files.find(ids, owner), more=False)


def _page(records: list[FileRecord], more: bool) -> FilePage:
    first, last = (records[0], records[-1]) if records else (None, None)
    return FilePage(
        data=[metadata(record) for record in records],
        next_page=_cursor(last) if last and more else None,
        has_more=more,
        first_id=first.id if first else None,
        last_id=last.id if last else None,
    )


def _cursor(record: FileRecord) -> str:
    return _PAGE + base64.urlsafe_b64encode(msgspec.json.encode((record.created, record.id))).decode()


def _place(cursor: str) -> tuple[float, str]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor.removeprefix(_PAGE)), type=tuple[float, str])
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        raise BadRequest("page: not a next_page of this server") from None


async def _place_of(files: FileStore, owner: str, id: str, field: str) -> tuple[float, str]:
    record = await files.get(id, owner)
    # A client that deletes what it lists goes on from what is no more.
    created = record.created if record else made_at(id)
    if created is None:
        raise NotFound(f"{field}: File not found: {id}")
    return created, id


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
