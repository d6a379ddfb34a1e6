"""Texts and pages cut into the passages that can be cited: sentences, in any script.

https://github.com/wikimedia/sentencex finds the ends of sentences. It goes by the language's own abbreviations, and
falls back on those of English; the marks that end a sentence are those of every script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sentencex

from antiphon.api.citations import Passage

_LANGUAGE = "en"
_LONGEST = 2000
"""In characters. What has no end of a sentence for so long (a table, a log) is cut where a line ends."""
_BETWEEN_PAGES = "\n\n"


def of_text(text: str) -> tuple[Passage, ...]:
    """The sentences of a text, placed by its characters."""
    spans = list(_spans(text))
    following = [*(start for start, _ in spans[1:]), len(text)]
    return tuple(
        Passage(text[start:end], start, end, text[end : following[index]]) for index, (start, end) in enumerate(spans)
    )


def of_pages(pages: Sequence[str]) -> tuple[Passage, ...]:
    """The sentences of pages, placed by the number of their page."""
    passages: list[Passage] = []
    for number, page in enumerate(pages, 1):
        found = of_text(page)
        passages += (Passage(each.text, number, number + 1, each.gap) for each in found[:-1])
        passages += (Passage(each.text, number, number + 1, _BETWEEN_PAGES) for each in found[-1:])
    return tuple(passages)


def of_blocks(blocks: Sequence[str | None]) -> tuple[Passage, ...]:
    """One passage a block, placed by its index. None is a block that cannot be cited."""
    return tuple(Passage(text, index, index + 1) for index, text in enumerate(blocks) if text and text.strip())


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where sentences begin and end, without the white space around them."""
    whole = text.encode("utf-8", "replace").decode()
    for found in sentencex.get_sentence_boundaries(_LANGUAGE, whole):
        for start, end in _lines(text, found["start_index"], found["end_index"]):
            stripped = text[start:end].strip()
            if stripped:
                start = text.index(stripped[0], start)
                yield start, start + len(stripped)


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST:
        at = text.rfind("\n", start, start + _LONGEST) + 1 or start + _LONGEST
        yield start, at
        start = at
    yield start, end
