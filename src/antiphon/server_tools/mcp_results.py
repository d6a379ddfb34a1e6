"""What a tool of an MCP server answers → texts: the API has a place for nothing else.

Files that are text or PDFs are read; of what cannot be told in words there are its type and its address.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence

from antiphon.prompt.documents import is_pdf, is_text, text_of
from antiphon.server_tools.tool import Fields

MAX_TEXT = 400_000
"""In characters, of one result."""
_PDF = "application/pdf"


def texts(content: Sequence[Fields]) -> list[str]:
    """The text of each block of a result. Of a PDF it takes its time."""
    return [_text(block) for block in content]


def slow(content: Sequence[Fields]) -> bool:
    """Whether there is a PDF in a result."""
    return any(_resource(block).get("mimeType") == _PDF for block in content)


def cut(whole: Sequence[str]) -> list[str]:
    """The texts, no longer than a result may be."""
    left, kept = MAX_TEXT, list[str]()
    for text in whole:
        if len(text) > left:
            return [*kept, text[:left] + f"\n[cut here: the result has {sum(map(len, whole))} characters]"]
        kept.append(text)
        left -= len(text)
    return kept


def _text(block: Fields) -> str:
    match block.get("type"):
        case "text":
            return str(block.get("text", ""))
        case "resource":
            return _file(_resource(block))
        case "resource_link":
            return f"[{block.get('name', 'resource')} at {block.get('uri')}]"
        case kind:
            return f"[{kind}: {block.get('mimeType', 'unknown type')}, {len(str(block.get('data', '')))} characters]"


def _resource(block: Fields) -> Fields:
    inside = block.get("resource")
    return inside if isinstance(inside, dict) else {}


def _file(resource: Fields) -> str:
    text, media_type = resource.get("text"), str(resource.get("mimeType") or "data")
    if isinstance(text, str):
        return text
    try:
        data = binascii.a2b_base64(str(resource.get("blob", "")))
    except binascii.Error:
        data = b""
    if data and (is_text(media_type) or is_pdf(media_type, data)):
        return text_of(media_type, data)
    return f"[{media_type} at {resource.get('uri')}]"
