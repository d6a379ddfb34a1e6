"""The labels of sources, and sources as the model is shown them.

A label is made of what the source says, so that the same document has the same label in every conversation and wherever
it stands in one: neither a document that is added nor one that is taken away changes how the others are shown.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from antiphon.api.citations import Passage, Source, SourceKind

INSTRUCTIONS = (
    "Sources that have an id can be cited; their passages are numbered like [1], [2]. When you say something that a "
    "source says, wrap your words in a cite tag with the source's id and the number of the passage: "
    "<cite ID.1>your words</cite>. For neighbouring passages write <cite ID.1-3>, for several places "
    "<cite ID.1,OTHER.2>. Write what no source says outside of the tags, and never show the ids or numbers otherwise."
)
"""What stands before the first source of a conversation."""

_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aeiou"
_SYLLABLES = 2


class Sources:
    """The sources of one conversation, in their order."""

    def __init__(self, found: Sequence[Source] = ()) -> None:
        self._sources = list(found)
        self._contents = {source.label: _content(source) for source in found}
        self._counts: Counter[str] = Counter()

    def all(self) -> tuple[Source, ...]:
        """Those there are so far."""
        return tuple(self._sources)

    def count(self, kind: Literal["document", "search_result"]) -> int:
        """The index of the next of its kind, whether it can be cited or not."""
        self._counts[kind] += 1
        return self._counts[kind] - 1

    def add(
        self,
        kind: SourceKind,
        index: int,
        passages: tuple[Passage, ...],
        *,
        title: str | None = None,
        address: str = "",
        file_id: str | None = None,
    ) -> Source:
        """A further source, under a label of its own. The same one again has the label that it had."""
        source = Source(
            kind=kind, label="", index=index, passages=passages, title=title, address=address, file_id=file_id
        )
        content, size = _content(source), _SYLLABLES
        while self._contents.setdefault(label := _label(content, size), content) != content:
            size += 1
        source = msgspec.structs.replace(source, label=label)
        self._sources.append(source)
        return source

    def instructions(self) -> str:
        """What has to be said before the next source: how to cite, if it is the first."""
        return "" if self._sources else INSTRUCTIONS


def shown(source: Source) -> str:
    """The text of a source with its passages numbered."""
    parted = "\n" if source.kind in ("blocks", "search_result") else ""
    return "".join(
        f"[{number}] {each.text}{each.gap or parted}" for number, each in enumerate(source.passages, 1)
    ).strip()


def _content(source: Source) -> bytes:
    said = (source.kind, source.title, source.address, [(each.text, each.start) for each in source.passages])
    return hashlib.blake2b(msgspec.msgpack.encode(said), digest_size=16).digest()


def _label(content: bytes, size: int) -> str:
    syllables = [(byte % len(_CONSONANTS), byte // len(_CONSONANTS) % len(_VOWELS)) for byte in content[:size]]
    return "".join(_CONSONANTS[consonant] + _VOWELS[vowel] for consonant, vowel in syllables)
