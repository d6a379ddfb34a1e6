"""The content of a message as it grows, streamed or whole, and what is noted of it.

A message has one content. What is said after a search is a paragraph of its own in it, because nothing else shows that
there was one.
"""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.api.citations import Citation
from antiphon.surfaces.chat_completions import sent
from antiphon.surfaces.openai.annotations import Annotations

_BREAK = "\n\n"


class Content:
    """The content of a message, or its reasoning."""

    def __init__(self) -> None:
        self._annotations = Annotations()
        self._empty = True
        self._parted = False

    def part(self) -> None:
        """What comes next is a paragraph of its own."""
        self._parted = not self._empty

    def cite(self, citations: Sequence[Citation]) -> None:
        """These are cited for what follows."""
        self._annotations.cite(citations)

    def add(self, text: str) -> str:
        """More of it, as it stands in the message."""
        gap = _BREAK if self._parted else ""
        self._empty = self._parted = False
        self._annotations.grow(len(text), gap=len(gap))
        return gap + text

    def annotations(self) -> list[sent.Annotation]:
        """What is noted of it so far."""
        return [
            sent.Annotation(url_citation=sent.UrlCitation(each.start_index, each.end_index, each.title, each.url))
            for each in self._annotations.all()
        ]
