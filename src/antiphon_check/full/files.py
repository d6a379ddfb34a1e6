"""Files."""

from __future__ import annotations

from typing import Any

from antiphon_check.basic.messages import prompt_tokens
from antiphon_check.registry import API, SDK, check
from antiphon_check.server import Server
from antiphon_check.verdict import Unjudged, expect

_BOUNDARY = "antiphon-check-7d1f"
_BETA = {"anthropic-beta": "files-api-2025-04-14"}
_WORDS = "The lighthouse has 97 steps. " * 8


def _uploaded(server: Server) -> dict[str, Any]:
    head = (
        f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="notes.txt"\r\n'
        "content-type: text/plain\r\n\r\n"
    )
    body = f"{head}{_WORDS}\r\n--{_BOUNDARY}--\r\n".encode()
    headers = {**_BETA, "content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
    exchange = server.request("POST", "/v1/files", raw=body, headers=headers)
    if exchange.status in (404, 405, 501):
        server.works()
        raise Unjudged("the server keeps no files")
    return server.accepted(exchange, "id")


@check(
    "full.file_fields",
    "An uploaded file has an id, its name, its type and its size.",
    reason="The SDKs' `FileMetadata` declares them.",
    source=SDK + "types/beta/file_metadata.py",
)
def file_fields(server: Server) -> None:
    file = _uploaded(server)
    expect(file.get("type") == "file", f"`type` is {file.get('type')!r}")
    expect(file.get("filename") == "notes.txt", f"`filename` is {file.get('filename')!r}")
    expect(file.get("mime_type") == "text/plain", f"`mime_type` is {file.get('mime_type')!r}")
    expect(file.get("size_bytes") == len(_WORDS), f"`size_bytes` is {file.get('size_bytes')!r}, not {len(_WORDS)}")


@check(
    "full.file_life",
    "A file is listed and found by its id until it is deleted, and then a 404.",
    reason="What people delete must be gone.",
    source=API + "files-list",
)
def file_life(server: Server) -> None:
    id = _uploaded(server)["id"]
    page = server.accepted(server.request("GET", "/v1/files", headers=_BETA), "data")
    expect(id in [each.get("id") for each in page["data"]], "it is not listed")
    server.accepted(server.request("GET", f"/v1/files/{id}", headers=_BETA), "id")
    server.accepted(server.request("DELETE", f"/v1/files/{id}", headers=_BETA), "id")
    server.refused(server.request("GET", f"/v1/files/{id}", headers=_BETA), 404)


@check(
    "full.file_document",
    "A document may be a file by its id, and is read.",
    reason="It is what files are uploaded for.",
    source=API + "files-create",
)
def file_document(server: Server) -> None:
    id = _uploaded(server)["id"]
    block = {"type": "document", "source": {"type": "file", "file_id": id}}
    messages = [{"role": "user", "content": [block, {"type": "text", "text": "How many steps?"}]}]
    exchange = server.request("POST", "/v1/messages", server.plain(messages=messages), headers=_BETA)
    used = prompt_tokens(server.accepted(exchange, "content").get("usage") or {})
    plain = prompt_tokens(server.message(messages=[{"role": "user", "content": "How many steps?"}]).get("usage") or {})
    expect(used > plain + 30, f"the prompt has {used} tokens with the file, {plain} without")
