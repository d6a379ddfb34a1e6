"""The usage report of the Admin API: its parameters, and its shape in time buckets."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from antiphon.accounts.report import Dimension, report
from antiphon.accounts.usage import DAY, HOUR, Cell, Counts
from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.validation import whole_number
from antiphon.surfaces.surface import Parameter

_CONSTANT = {
    "workspace_ids": (),
    "account_ids": (),
    "service_account_ids": (),
    "inference_geos": ("not_available",),
    "speeds": ("standard",),
    "context_window": ("0-200k",),
}
"""What the original filters by and is the same for all usage here: of each filter, what lets that pass."""
PARAMETERS = (
    Parameter("starting_at", "query", "Where the first bucket begins (RFC 3339).", required=True),
    Parameter("ending_at", "query", "Buckets that end before this time; now, if left out."),
    Parameter("bucket_width", "query", "How long a bucket is.", Literal["1d", "1h"]),
    Parameter("limit", "query", "How many buckets at most: 31 days or 168 hours.", Annotated[int, Meta(ge=1, le=168)]),
    Parameter("page", "query", "The `next_page` of the previous page."),
    Parameter("group_by[]", "query", "What to group by: `api_key_id`, `model`, `service_tier`; may be repeated."),
    Parameter("api_key_ids[]", "query", "Only these keys; may be repeated."),
    Parameter("models[]", "query", "Only these models; may be repeated."),
    Parameter("service_tiers[]", "query", "Only `standard` or `batch`; may be repeated."),
    *(Parameter(f"{name}[]", "query", "Leaves in all usage, or none: all of it is alike.") for name in _CONSTANT),
)
_WIDTHS = {"1d": (DAY, 7, 31), "1h": (HOUR, 24, 168)}
"""Seconds of a bucket, and how many there are on a page: usually, and at most."""
_DIMENSIONS: dict[str, Dimension] = {"api_key_id": "key", "model": "model", "service_tier": "tier"}
_LATEST = 1 << 36
"""Nothing was used after this time; there are later ones that no date can be made of."""
_NEVER_TOLD = ("workspace_id", "context_window", "inference_geo", "speed", "account_id", "service_account_id")
"""What the original groups by and is the same for all here."""


class CacheCreation(msgspec.Struct):
    """Tokens put into the cache before a mark. How long a mark asked for is not kept: they all stand here."""

    ephemeral_5m_input_tokens: int
    ephemeral_1h_input_tokens: int = 0


class ServerToolUse(msgspec.Struct):
    """Calls of tools that ran here."""

    web_search_requests: int
    web_fetch_requests: int


class Result(msgspec.Struct, kw_only=True):
    """Usage in a bucket; what was not grouped by is null."""

    uncached_input_tokens: int
    cache_creation: CacheCreation
    cache_read_input_tokens: int
    output_tokens: int
    server_tool_use: ServerToolUse
    api_key_id: str | None = None
    workspace_id: None = None
    model: str | None = None
    service_tier: str | None = None
    context_window: None = None
    inference_geo: None = None
    account_id: None = None
    service_account_id: None = None


class Bucket(msgspec.Struct):
    """A stretch of time, and what was used in it."""

    starting_at: str
    ending_at: str
    results: list[Result]


class Report(msgspec.Struct):
    """Some of the buckets, the earliest first. `next_page` asks for those that follow."""

    data: list[Bucket]
    has_more: bool
    next_page: str | None


class Query(NamedTuple):
    """What is asked: buckets of so many seconds, `[since, until)` on this page in Unix seconds, where the period ends,
    what to tell apart, and the only keys (labels), models and tiers (none: all). Usage is `possible` where no other
    filter leaves out all there can be."""

    width: int
    since: int
    until: int
    end: int
    by: tuple[str, ...]
    keys: frozenset[str]
    models: frozenset[str]
    tiers: frozenset[str]
    possible: bool


def read(query: Mapping[str, Sequence[str]], now: float) -> Query:
    """What a query asks. Raises BadRequest with the name of the parameter."""
    one = {name: values[-1] for name, values in query.items()}
    width = one.get("bucket_width", "1d")
    if width not in _WIDTHS:
        raise BadRequest("bucket_width: usage is kept by the hour here; ask for 1d or 1h")
    seconds, usual, most = _WIDTHS[width]
    limit = whole_number(one.get("limit", str(usual)), "limit", 1, most, meant=f" for buckets of {width}")
    if "starting_at" not in one:
        raise BadRequest("starting_at: Field required")
    since = moment(one["starting_at"], "starting_at") // seconds * seconds
    end = moment(one["ending_at"], "ending_at") // seconds * seconds if "ending_at" in one else _above(now, seconds)
    if "page" in one:
        since = max(since, _place(one["page"]))
    by = tuple(dict.fromkeys(_listed(query, "group_by")))
    if odd := next((name for name in by if name not in (*_DIMENSIONS, *_NEVER_TOLD)), None):
        raise BadRequest(f"group_by: {odd!r} is not one of {', '.join((*_DIMENSIONS, *_NEVER_TOLD))}")
    keys = frozenset(id.removeprefix("apikey_") for id in _listed(query, "api_key_ids"))
    models, tiers = frozenset(_listed(query, "models")), frozenset(_listed(query, "service_tiers"))
    possible = all(
        not (asked := _listed(query, name)) or set(asked) & set(passing) for name, passing in _CONSTANT.items()
    )
    return Query(seconds, since, min(end, since + limit * seconds), end, by, keys, models, tiers, possible)


def messages_report(query: Query, cells: Mapping[Cell, Counts]) -> Report:
    """The buckets of a page, from what was used in its time."""
    time: Dimension = "day" if query.width == DAY else "hour"
    names = [name for name in query.by if name in _DIMENSIONS]
    mine = {cell: counts for cell, counts in cells.items() if _matches(cell, query)}
    results: dict[int, list[Result]] = {}
    for line in report(mine, (time, *(_DIMENSIONS[name] for name in names))):
        begin, *places = line.place
        results.setdefault(int(begin), []).append(_result(line.counts, dict(zip(names, places, strict=True))))
    begins = range(query.since, query.until, query.width)
    data = [Bucket(timestamp(begin), timestamp(begin + query.width), results.get(begin, [])) for begin in begins]
    more = query.until < query.end
    return Report(data, more, _page(query.until) if more else None)


def _matches(cell: Cell, asked: Query) -> bool:
    pairs = ((cell.key, asked.keys), (cell.model, asked.models), (cell.tier, asked.tiers))
    return asked.possible and all(value in only for value, only in pairs if only)


def _result(counts: Counts, places: dict[str, Any]) -> Result:
    if "api_key_id" in places:
        places["api_key_id"] = f"apikey_{places['api_key_id']}" if places["api_key_id"] else None
    return Result(
        uncached_input_tokens=counts.input,
        cache_creation=CacheCreation(counts.created),
        cache_read_input_tokens=counts.cached,
        output_tokens=counts.output,
        server_tool_use=ServerToolUse(counts.web_searches, counts.web_fetches),
        **places,
    )


def moment(text: str, name: str) -> int:
    """The time (Unix seconds) that a query gives by this name, or the nearest at which anything can have been used.
    Raises BadRequest."""
    try:
        # A plus in a query that was not encoded is read as a blank.
        given = datetime.fromisoformat(text.replace(" ", "+"))
        return min(max(int(given.replace(tzinfo=given.tzinfo or UTC).timestamp()), 0), _LATEST)
    except (ValueError, OverflowError):
        raise BadRequest(f"{name}: Input should be a valid RFC 3339 timestamp") from None


def timestamp(moment: float) -> str:
    """A time (Unix seconds) as the API writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _listed(query: Mapping[str, Sequence[str]], name: str) -> list[str]:
    return [*query.get(f"{name}[]", ()), *query.get(name, ())]


def _above(now: float, seconds: int) -> int:
    return (int(now) // seconds + 1) * seconds


def _page(moment: int) -> str:
    return "page_" + base64.urlsafe_b64encode(timestamp(moment).encode()).decode()


def _place(page: str) -> int:
    try:
        return moment(base64.urlsafe_b64decode(page.removeprefix("page_")).decode(), "page")
    except (binascii.Error, ValueError):
        raise BadRequest("page: not a next_page of this server") from None
