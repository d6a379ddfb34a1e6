"""What can be cited, and what was: sources cut into passages, and how a model writes that it cites them.

A model cites by wrapping its own words in a tag that names passages: `<cite zuba.3-4,kofe.1>…</cite>`. Prompts,
grammars and the reader of replies all use the words of this file, so that they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

OPEN = "<cite "
CLOSE = "</cite>"

SourceKind = Literal["text", "pages", "blocks", "search_result", "web_search_result"]
"""What the places in a source are counted in: characters, pages (from 1), blocks; blocks too of a search result of the
client's, characters of what our web search found."""


class Passage(msgspec.Struct, frozen=True):
    """The least that can be cited: its text, and where it is in its source, from `start` to before `end`. `gap` is what
    stands between it and the next passage."""

    text: str
    start: int
    end: int
    gap: str = ""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be cited. The model knows it by its `label`; it is the one at `index` among those of its kind
    (documents, whatever they are counted in, are of one kind; what web search found is not counted). `address` is where
    it came from, if it says so, `file_id` the file that it is read from."""

    kind: SourceKind
    label: str
    index: int
    passages: tuple[Passage, ...]
    title: str | None = None
    address: str = ""
    file_id: str | None = None

    def text(self, first: int, stop: int) -> str:
        """The source's own words from the passage at `first` to before the one at `stop`."""
        passages = self.passages[first:stop]
        return "".join(each.text + each.gap for each in passages[:-1]) + passages[-1].text

    def cite(self, first: int, stop: int) -> Citation:
        """A citation of these passages; of the earliest that a client could not tell from them, which differ only where
        several passages have one place."""
        citation, size = Citation(self, first, stop), stop - first
        earliest = first
        while earliest and self.passages[earliest - 1].start == citation.start:
            earliest -= 1
        same = (Citation(self, at, at + size) for at in range(earliest, first))
        return next((each for each in same if (each.end, each.text) == (citation.end, citation.text)), citation)


class Citation(msgspec.Struct, frozen=True):
    """Passages of a source, from the one at `first` to before the one at `stop`."""

    source: Source
    first: int
    stop: int

    @property
    def text(self) -> str:
        """The cited words, as they are in the source."""
        return self.source.text(self.first, self.stop)

    @property
    def start(self) -> int:
        """Where these begin, in what places in the source are counted in."""
        return self.source.passages[self.first].start

    @property
    def end(self) -> int:
        """The place behind their end."""
        return self.source.passages[self.stop - 1].end

    @property
    def label(self) -> str:
        """What the model writes for it."""
        last = f"-{self.stop}" if self.stop - self.first > 1 else ""
        return f"{self.source.label}.{self.first + 1}{last}"


def written(text: str, citations: Sequence[Citation]) -> str:
    """A text as a model writes it that cites these for it."""
    return f"{OPEN}{','.join(each.label for each in citations)}>{text}{CLOSE}" if citations else text
