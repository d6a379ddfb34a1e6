"""Documents → text. PDFs are read by PDFium; what cannot be read gives a sentence that says so."""

from __future__ import annotations

import threading

import pypdfium2

MAX_PAGES = 300
MAX_CHARACTERS = 2_000_000

# PDFium keeps global state and must not be entered by two threads.
_one_at_a_time = threading.Lock()


def pdf_text(data: bytes, *, max_pages: int = MAX_PAGES, max_characters: int = MAX_CHARACTERS) -> str:
    """The text of a PDF, page by page, as far as the limits go."""
    try:
        pages, left = _read(data, max_pages, max_characters)
    except _Unreadable as reason:
        return f"[document omitted: {reason}]"
    omitted = [f"[{left} more page{'s' if left > 1 else ''} omitted]"] if left else []
    if not "".join([*pages, *omitted]).strip():
        return "[document omitted: it has no text, only pictures]"
    return "\n\n".join([*pages, *omitted])


def pdf_pages(data: bytes, *, max_pages: int = MAX_PAGES, max_characters: int = MAX_CHARACTERS) -> list[str]:
    """The texts of a PDF's pages, as far as the limits go; none of one that cannot be read."""
    try:
        return _read(data, max_pages, max_characters)[0]
    except _Unreadable:
        return []


class _Unreadable(Exception):
    """Why a PDF cannot be read."""


def _read(data: bytes, max_pages: int, max_characters: int) -> tuple[list[str], int]:
    """The texts of the pages, and how many more there are."""
    with _one_at_a_time:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as trouble:
            why = "it is protected by a password" if "password" in str(trouble).lower() else "it is not a readable PDF"
            raise _Unreadable(why) from None
        try:
            return _pages(document, max_pages, max_characters)
        finally:
            document.close()


def _pages(document: pypdfium2.PdfDocument, max_pages: int, max_characters: int) -> tuple[list[str], int]:
    pages: list[str] = []
    length = 0
    for number in range(min(len(document), max_pages)):
        text = _page_text(document, number)
        if length + len(text) > max_characters:
            pages.append(text[: max_characters - length])
            break
        pages.append(text)
        length += len(text)
    return pages, len(document) - len(pages)


def _page_text(document: pypdfium2.PdfDocument, number: int) -> str:
    try:
        page = document[number]
        try:
            words = page.get_textpage()
            try:
                return str(words.get_text_bounded()).replace("\r\n", "\n").strip()
            finally:
                words.close()
        finally:
            page.close()
    except pypdfium2.PdfiumError:
        return f"[page {number + 1} omitted: it cannot be read]"


def is_pdf(media_type: str, data: bytes) -> bool:
    """Whether a document is a PDF, whatever it is called."""
    return data[:1024].lstrip().startswith(b"%PDF-") or media_type == "application/pdf"


def is_text(media_type: str) -> bool:
    """Whether documents of a type are texts as they are."""
    return media_type.startswith("text/") or media_type in ("application/json", "application/xml", "")


def text_of(media_type: str, data: bytes) -> str:
    """The text of a document, or a sentence in its place."""
    if is_pdf(media_type, data):
        return pdf_text(data)
    if is_text(media_type):
        return data.decode("utf-8", "replace")
    return f"[document omitted: {media_type[:80]} cannot be read]"


def titled(tag: str, body: str, **fields: str | None) -> str:
    """A document or search result as text, in tags that models are used to."""
    lines = [f"<{name}>{value}</{name}>" for name, value in fields.items() if value]
    return "\n".join([f"<{tag}>", *lines, body, f"</{tag}>"])
