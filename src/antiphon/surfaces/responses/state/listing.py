"""Lists of items, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.validation import whole_number
from antiphon.surfaces.responses import sent
from antiphon.surfaces.surface import Parameter

_MOST = 100
_SET_HERE = ("type", "id", "status")
PAGING = (
    Parameter("limit", "query", "How many to list at most."),
    Parameter("after", "query", "List what comes after this item."),
    Parameter("order", "query", "`asc`, or `desc` for the latest first."),
)


class ItemList(msgspec.Struct, kw_only=True):
    """Some items of a list."""

    object: str = "list"
    data: list[sent.Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


def typed(item: dict[str, Any]) -> dict[str, Any]:
    """An item as a client wrote it, with its type."""
    # Models of the SDK are dumped with null where nothing was set.
    written = {name: value for name, value in item.items() if value is not None or name not in _SET_HERE}
    return {"type": "message", **written}


def listed(item: dict[str, Any]) -> dict[str, Any]:
    """An item with what the API lists besides what a client wrote: type, status, and content as a list of parts."""
    fields = typed(item)
    if fields["type"] == "message" or fields["type"].endswith(("_call", "_output")):
        fields.setdefault("status", "completed")
    if fields["type"] == "message" and isinstance(fields.get("content"), str):
        kind = "output_text" if fields.get("role") == "assistant" else "input_text"
        fields["content"] = [{"type": kind, "text": fields["content"]}]
    return fields


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str]) -> ItemList:
    """A page of items that are in the order in which they came."""
    ordered = list(items) if query.get("order", "desc") == "asc" else list(reversed(items))
    if after := query.get("after"):
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise BadRequest(f"after: there is no item {after[:100]!r}")
        ordered = ordered[ids.index(after) + 1 :]
    limit = whole_number(query.get("limit") or "20", "limit", 1, _MOST)
    return whole_list(ordered[:limit], more=len(ordered) > limit)


def whole_list(items: list[dict[str, Any]], *, more: bool = False) -> ItemList:
    """These items, and whether there are `more`."""
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return ItemList(data=items, first_id=first, last_id=last, has_more=more)
