"""The index that a citation of a page has on the wire, by which this server finds it where it comes back. It hides
nothing."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from antiphon.api.citations import Citation, Source


def index_of(citations: Iterable[Citation]) -> str:
    """The index of these."""
    return urlsafe_b64encode(",".join(each.label for each in citations).encode()).decode()


def indexed(index: Any, sources: Sequence[Source]) -> Iterator[Citation]:
    """The citations that have this index, as far as their sources are still there."""
    try:
        labels = urlsafe_b64decode(str(index)).decode().split(",")
    except ValueError:
        return
    for each in labels:
        if found := _labelled(each, sources):
            yield found


def _labelled(label: str, sources: Sequence[Source]) -> Citation | None:
    name, _, places = label.partition(".")
    first, _, last = places.partition("-")
    try:
        start, stop = int(first) - 1, int(last or first)
    except ValueError:
        return None
    source = next((each for each in sources if each.kind == "web_search_result" and each.label == name), None)
    return source.cite(start, stop) if source is not None and 0 <= start < stop <= len(source.passages) else None
