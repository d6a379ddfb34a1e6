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
    with _one_at_a_time:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as trouble:
            why = "it is protected by a password" if "password" in str(trouble).lower() else "it is not a readable PDF"
            return f"[document omitted: {why}]"
        try:
            return _pages(document, max_pages, max_characters)
        finally:
            document.close()


def _pages(document: pypdfium2.PdfDocument, max_pages: int, max_characters: int) -> str:
    pages: list[str] = []
    length = 0
    for number in range(min(len(document), max_pages)):
        text = _page_text(document, number)
        if length + len(text) > max_characters:
            pages.append(text[: max_characters - length])
            break
        pages.append(text)
        length += len(text)
    left = len(document) - len(pages)
    if left:
        pages.append(f"[{left} more page{'s' if left > 1 else ''} omitted]")
    if not "".join(pages).strip():
        return "[document omitted: it has no text, only pictures]"
    return "\n\n".join(pages)


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


def text_of(media_type: str, data: bytes) -> str:
    """The text of a document, or a sentence in its place."""
    if data[:1024].lstrip().startswith(b"%PDF-") or media_type == "application/pdf":
        return pdf_text(data)
    if media_type.startswith("text/") or media_type in ("application/json", "application/xml", ""):
        return data.decode("utf-8", "replace")
    return f"[document omitted: {media_type[:80]} cannot be read]"


def titled(tag: str, body: str, **fields: str | None) -> str:
    """A document or search result as text, in tags that models are used to."""
    lines = [f"<{name}>{value}</{name}>" for name, value in fields.items() if value]
    return "\n".join([f"<{tag}>", *lines, body, f"</{tag}>"])
