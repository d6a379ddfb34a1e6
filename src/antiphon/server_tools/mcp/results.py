"""What a tool of an MCP server answers → the texts that the API has a place for, and the pictures behind some of them.

Files that are text or PDFs are read. A picture is told in words, for whoever reads the reply, and stands beside them as
the `source` of the text; so it comes back with the conversation, and a model that sees gets it in their place. Of what
cannot be told otherwise there are its type and its address.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from antiphon.api.conversation import Image
from antiphon.api.errors import BadRequest
from antiphon.prompt.media import pictures
from antiphon.prompt.media.documents import is_pdf, is_text, text_of
from antiphon.server_tools.tool import Fields

MAX_TEXT = 400_000
"""In characters, of one result."""
_PDF = "application/pdf"


def blocks(content: Sequence[Fields]) -> list[Fields]:
    """The text blocks for the content of a result. Of a PDF it takes its time."""
    return [_block(each) for each in content]


def slow(content: Sequence[Fields]) -> bool:
    """Whether there is a PDF in a result."""
    return any(_resource(each).get("mimeType") == _PDF for each in content)


def _block(content: Fields) -> Fields:
    match content.get("type"):
        case "text":
            return _text(str(content.get("text", "")))
        case "resource":
            return _file(_resource(content))
        case "resource_link":
            return _text(f"[{content.get('name', 'resource')} at {content.get('uri')}]")
        case kind:
            media_type, data = str(content.get("mimeType", "unknown type")), str(content.get("data", ""))
            return _pictured(media_type, _bytes(data)) or _text(f"[{kind}: {media_type}, {len(data)} characters]")


def _text(text: str) -> Fields:
    return {"type": "text", "text": text}


def _resource(content: Fields) -> Fields:
    inside = content.get("resource")
    return inside if isinstance(inside, dict) else {}


def _file(resource: Fields) -> Fields:
    text, media_type = resource.get("text"), str(resource.get("mimeType") or "data")
    if isinstance(text, str):
        return _text(text)
    data = _bytes(str(resource.get("blob", "")))
    if data and (is_text(media_type) or is_pdf(media_type, data)):
        return _text(text_of(media_type, data))
    return _pictured(media_type, data) or _text(f"[{media_type} at {resource.get('uri')}]")


def _pictured(media_type: str, data: bytes) -> Fields | None:
    """The block of a picture; None of what is none, or one that no model takes."""
    try:
        image = pictures.image(media_type, data, "")
    except BadRequest:
        return None
    return {**_text(_words(image)), "source": _source(image)}


def _words(image: Image) -> str:
    width, height = pictures.dimensions(image.media_type, image.data) or (0, 0)
    return f"[image: {image.media_type}, {width}×{height}]"


def _source(image: Image) -> Fields:
    return {"type": "base64", "media_type": image.media_type, "data": base64.b64encode(image.data).decode()}


def _bytes(data: str) -> bytes:
    """The bytes of base64 text; none of what is none."""
    try:
        return pictures.decoded(data, "")
    except BadRequest:
        return b""


def within(whole: Sequence[Fields], most: int) -> list[Fields]:
    """The blocks, with so many characters of text at most."""
    left, head = most, list[Fields]()
    for block in whole:
        text = block["text"]
        if len(text) > left:
            size = sum(len(each["text"]) for each in whole)
            return [*head, _text(text[:left] + f"\n[cut here: the result has {size} characters]")]
        head.append(block)
        left -= len(text)
    return head
