"""Pages of a list, as the Messages API cuts them: a limit, and the id that a page comes after or before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from antiphon.api.errors import NotFound
from antiphon.surfaces.http.validation import whole_number
from antiphon.surfaces.surface import Parameter

PARAMETERS = (
    Parameter("limit", "query", "How many to list at most.", Annotated[int, Meta(ge=1, le=1000)]),
    Parameter("after_id", "query", "List what comes after this id."),
    Parameter("before_id", "query", "List what comes before this id."),
)
"""The parameters of a list."""


def cut(
    names: Sequence[str],
    query: Mapping[str, str],
    *,
    usual: str,
    kind: str,
    before: Callable[[str], int | None] = lambda name: None,
) -> tuple[range, bool]:
    """The places of the names on the page asked for, and whether there are more. `usual` is the limit where none is
    given, `kind` says what the names are of. How many names were `before` one that is no more may still be known.
    Raises BadRequest and NotFound."""
    limit = whole_number(query.get("limit") or usual, "limit", 1, 1000)

    def place(field: str, after: int) -> int:
        name = query[field]
        if name in names:
            return names.index(name) + after
        if (known := before(name)) is None:
            raise NotFound(f"{field}: {kind}: {name}")
        return known

    first = place("after_id", 1) if query.get("after_id") else 0
    last = place("before_id", 0) if query.get("before_id") else len(names)
    inside = range(first, max(first, last))
    backwards = bool(query.get("before_id")) and not query.get("after_id")
    page = inside[-limit:] if backwards else inside[:limit]
    return page, len(page) < len(inside)
