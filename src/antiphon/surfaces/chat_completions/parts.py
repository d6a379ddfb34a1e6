"""The pieces of a message's content, as this API spells them."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.api.errors import BadRequest
from antiphon.surfaces.chat_completions import wire
from antiphon.surfaces.openai.content import File, Foreign, Picture, Piece, Words, required

_EXPECTED = "'text', 'image_url' or 'file'"


def pieces(content: wire.Content, where: str) -> Iterator[Piece]:
    """The pieces of one content."""
    if isinstance(content, str):
        yield Words(content)
        return
    for index, part in enumerate(content or ()):
        yield _piece(part, f"{where}.{index}")


def _piece(part: wire.Part, where: str) -> Piece:
    match part.type:
        case "text" | "input_text" | "output_text":
            return Words(required(part.text, f"{where}.text"))
        case "refusal":
            return Words(required(part.refusal, f"{where}.refusal"))
        case "image_url" | "input_image":
            address, place = part.image_url, f"{where}.image_url"
            if isinstance(address, wire.ImageUrl):
                return Picture(address.url, f"{place}.url", where)
            return Picture(required(address, place), place, where)
        case "file":
            return _file(part.file, f"{where}.file")
        case "input_file":
            return _file(part, where)
        case other:
            return Foreign(other, where, _EXPECTED)


def _file(file: wire.File | None, where: str) -> File:
    if file is None or (file.file_data is None and file.file_id is None):
        raise BadRequest(f"{where}.file_data: Field required")
    if file.file_data is None:
        raise BadRequest(f"{where}: this server keeps no files; send the content as file_data instead of a file id")
    return File(data=file.file_data, name=file.filename, where=f"{where}.file_data")
