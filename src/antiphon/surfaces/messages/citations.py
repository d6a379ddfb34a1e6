"""Citations on the wire: which sources of a request can be cited, what is cited as the API tells it, and what of it a
client sends back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from antiphon.api.citations import Citation, Source
from antiphon.api.errors import BadRequest
from antiphon.prompt.citations.labelling import Sources
from antiphon.surfaces.content.citation_index import index_of, indexed


class CharLocation(msgspec.Struct, tag="char_location", kw_only=True):
    """Characters of a text."""

    cited_text: str
    document_index: int
    document_title: str | None
    start_char_index: int
    end_char_index: int
    file_id: str | None = None


class PageLocation(msgspec.Struct, tag="page_location", kw_only=True):
    """Pages of a PDF; the first is 1."""

    cited_text: str
    document_index: int
    document_title: str | None
    start_page_number: int
    end_page_number: int
    file_id: str | None = None


class ContentBlockLocation(msgspec.Struct, tag="content_block_location", kw_only=True):
    """Blocks of a document."""

    cited_text: str
    document_index: int
    document_title: str | None
    start_block_index: int
    end_block_index: int
    file_id: str | None = None


class SearchResultLocation(msgspec.Struct, tag="search_result_location", kw_only=True):
    """Blocks of a search result of the client's."""

    cited_text: str
    source: str
    title: str | None
    search_result_index: int
    start_block_index: int
    end_block_index: int


class WebSearchResultLocation(msgspec.Struct, tag="web_search_result_location", kw_only=True):
    """Words of a page that web search found. `encrypted_index` is what this server finds them by when they come back;
    it hides nothing."""

    cited_text: str
    encrypted_index: str
    title: str | None
    url: str


Location = CharLocation | PageLocation | ContentBlockLocation | SearchResultLocation | WebSearchResultLocation


def location(citation: Citation) -> Location:
    """A citation as the API tells it. Ends are exclusive."""
    source, text, start, end = citation.source, citation.text, citation.start, citation.end
    document: dict[str, Any] = {
        "document_index": source.index,
        "document_title": source.title,
        "file_id": source.file_id,
    }
    match source.kind:
        case "text":
            return CharLocation(cited_text=text, start_char_index=start, end_char_index=end, **document)
        case "pages":
            return PageLocation(cited_text=text, start_page_number=start, end_page_number=end, **document)
        case "blocks":
            return ContentBlockLocation(cited_text=text, start_block_index=start, end_block_index=end, **document)
        case "search_result":
            return SearchResultLocation(
                cited_text=text,
                source=source.address,
                title=source.title,
                search_result_index=source.index,
                start_block_index=start,
                end_block_index=end,
            )
        case "web_search_result":
            return WebSearchResultLocation(
                cited_text=text, encrypted_index=index_of([citation]), title=source.title, url=source.address
            )


_PLACES: Mapping[str, tuple[str, str, str]] = {
    "char_location": ("text", "document_index", "start_char_index"),
    "page_location": ("pages", "document_index", "start_page_number"),
    "content_block_location": ("blocks", "document_index", "start_block_index"),
    "search_result_location": ("search_result", "search_result_index", "start_block_index"),
}
"""Of each type of location: the kind of its source, where that one's index is, and where it begins in the source."""


class Citing:
    """What can be cited in one request. Documents are counted as they stand in it, search results by themselves, and
    either all of them can be cited or none."""

    def __init__(self) -> None:
        self.sources = Sources()
        self._enabled: dict[str, bool] = {}

    @property
    def enabled(self) -> bool:
        """Whether anything can be cited."""
        return any(self._enabled.values())

    def count(self, kind: Literal["document", "search_result"], enabled: bool, where: str) -> int:
        """The index of the next of its kind. Raises BadRequest where only some can be cited."""
        if self._enabled.setdefault(kind, enabled) != enabled:
            raise BadRequest(
                f"{where}.{kind}.citations: citations must be enabled for all {kind} blocks of a request or for none"
            )
        return self.sources.count(kind)

    def cited(self, sent: Iterable[Any]) -> tuple[Citation, ...]:
        """What citations that a client sends back were made of, as far as their sources are still there."""
        return tuple(found for each in sent if (found := _decoded(each, self.sources.all())) is not None)


def _decoded(citation: Any, sources: Sequence[Source]) -> Citation | None:
    if not isinstance(citation, dict):
        return None
    if citation.get("type") == "web_search_result_location":
        return next(indexed(citation.get("encrypted_index"), sources), None)
    if (place := _PLACES.get(str(citation.get("type")))) is None:
        return None
    kind, index, start = place[0], citation.get(place[1]), citation.get(place[2])
    source = next((each for each in sources if each.kind == kind and each.index == index), None)
    text = citation.get("cited_text")
    if source is None or not isinstance(text, str):
        return None
    for first, passage in enumerate(source.passages):
        if passage.start == start and text.startswith(passage.text):
            stop = first + 1
            while stop < len(source.passages) and len(source.text(first, stop)) < len(text):
                stop += 1
            if source.text(first, stop) == text:
                return source.cite(first, stop)
    return None
