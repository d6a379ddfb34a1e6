"""Citations as OpenAI's APIs tell them: annotations of a text, each of a stretch of it and the page that it is from.

A model cites before it says what it cites for, so an annotation is known once its stretch has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from antiphon.api.citations import Citation, Source, written
from antiphon.surfaces.content.citation_index import index_of, indexed


class UrlCitation(msgspec.Struct, tag="url_citation", frozen=True, kw_only=True):
    """A page that a stretch of a text is from, in characters (Unicode code points) from `start_index` to before
    `end_index`. `encrypted_index` is what this server finds the passages by when they come back."""

    start_index: int
    end_index: int
    title: str
    url: str
    encrypted_index: str


class Annotations:
    """The annotations of a text as it grows. These are cited for its beginning."""

    def __init__(self, citations: Sequence[Citation] = ()) -> None:
        self._ended: list[UrlCitation] = []
        self._begin = self._end = 0
        self._cited = citations

    def grow(self, size: int, *, gap: int = 0) -> None:
        """The text has so many more characters, behind a `gap` of others that nothing is cited for."""
        if self._begin == self._end:
            self._begin += gap
        self._end += gap + size

    def cite(self, citations: Sequence[Citation]) -> list[tuple[int, UrlCitation]]:
        """These are cited for what follows: the annotations of the stretch that ends here, and which ones they are."""
        first, ended = len(self._ended), _annotations(self._cited, self._begin, self._end)
        self._begin, self._cited = self._end, citations
        self._ended += ended
        return list(enumerate(ended, first))

    def all(self) -> list[UrlCitation]:
        """Those of the text so far."""
        return [*self._ended, *_annotations(self._cited, self._begin, self._end)]


def _annotations(citations: Sequence[Citation], begin: int, end: int) -> list[UrlCitation]:
    """One for each page, but where others are cited in between, so that they come back in their order."""
    if begin == end:
        return []
    return [
        UrlCitation(
            start_index=begin,
            end_index=end,
            title=source.title or source.address,
            url=source.address,
            encrypted_index=index_of(group),
        )
        for source, group in groupby(citations, lambda citation: citation.source)
        if source.address
    ]


def text_with_citations(text: str, annotations: Sequence[Mapping[str, Any]], sources: Sequence[Source]) -> str:
    """A text that comes back with its annotations, as the model wrote it; annotations that name nothing are dropped."""
    stretches: dict[tuple[int, int], list[Citation]] = {}
    for each in annotations:
        begin, end = each.get("start_index"), each.get("end_index")
        if isinstance(begin, int) and isinstance(end, int):
            stretches.setdefault((begin, end), []).extend(indexed(each.get("encrypted_index"), sources))
    pieces, done = list[str](), 0
    for (begin, end), citations in sorted(stretches.items()):
        if citations and done <= begin < end <= len(text):
            pieces += text[done:begin], written(text[begin:end], citations)
            done = end
    return "".join([*pieces, text[done:]])
