"""GET /v1/usage: what was used, told apart by whatever is asked for; a key sees its own, an admin that of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from antiphon.accounts.report import DIMENSIONS, Dimension, UsageRow, report
from antiphon.accounts.usage import HOUR, Cell, Counts
from antiphon.api.errors import BadRequest
from antiphon.surfaces.accounts.store_access import usage_cells
from antiphon.surfaces.accounts.usage_report import moment
from antiphon.surfaces.http.exchange import Exchange
from antiphon.surfaces.surface import Operation, Options, Parameter, Route

_PARAMETERS = (
    Parameter("starting_at", "query", "From this time on (RFC 3339); this month (UTC), if left out."),
    Parameter("ending_at", "query", "Until before this time; now, if left out."),
    Parameter("by", "query", f"What to group by: {', '.join(DIMENSIONS)}; with commas between, or repeated."),
    Parameter("key", "query", "Only this key, by its label; may be repeated."),
    Parameter("model", "query", "Only this model; may be repeated."),
)


class Used(msgspec.Struct, kw_only=True):
    """What was used by whatever is the same in what was told apart. `key` is a label, `name` what people call it.
    `requests` came to their end, `broken_requests` did not; the tokens are as replies tell them, `seconds` are from the
    head of a request to the end of its reply."""

    day: str | UnsetType = UNSET
    hour: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    tier: str | UnsetType = UNSET
    requests: int
    broken_requests: int
    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    thinking_tokens: int
    seconds: float
    web_searches: int
    web_fetches: int
    tool_calls: int


class UsedReport(msgspec.Struct):
    """Usage between two times, of whole hours."""

    starting_at: datetime
    ending_at: datetime
    data: list[Used]


class Query(NamedTuple):
    """`[since, until)` in Unix seconds, what to tell apart, and the only keys (labels) and models (none: all)."""

    since: int
    until: int
    by: tuple[Dimension, ...]
    keys: frozenset[str]
    models: frozenset[str]


def read(query: Mapping[str, Sequence[str]], now: float) -> Query:
    """What a query asks. Raises BadRequest with the name of the parameter."""
    month = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0)
    begin = moment(query["starting_at"][-1], "starting_at") if "starting_at" in query else int(month.timestamp())
    end = moment(query["ending_at"][-1], "ending_at") if "ending_at" in query else int(now) + 1
    names = [name for value in query.get("by", ("day",)) for name in value.split(",") if name]
    by: list[Dimension] = []
    for name in dict.fromkeys(names):
        if name not in DIMENSIONS:
            raise BadRequest(f"by: {name!r} is not one of {', '.join(DIMENSIONS)}")
        by.append(name)
    return Query(
        begin // HOUR * HOUR,
        -(-end // HOUR) * HOUR,
        tuple(by),
        frozenset(query.get("key", ())),
        frozenset(query.get("model", ())),
    )


def used(options: Options) -> Route:
    """The route."""
    accounts = options.accounts

    async def answer(exchange: Exchange) -> None:
        query = read(exchange.queries, options.clock())
        cells = await usage_cells(accounts, query.since, query.until)
        label = exchange.watch.key
        if not accounts.sees_all(label):
            cells = {cell: counts for cell, counts in cells.items() if cell.key == label}
        names = {cell.key: key.name if (key := accounts.keys.get(cell.key)) else "" for cell in cells}
        lines = report({cell: counts for cell, counts in cells.items() if _meant(cell, query)}, query.by)
        body = UsedReport(_time(query.since), _time(query.until), [_used(line, query.by, names) for line in lines])
        await exchange.reply(200, msgspec.json.encode(body))

    operation = Operation(
        summary="Report usage, by day, hour, key, model or tier",
        description="An admin's key sees everybody's usage, every other key its own.",
        replies={"application/json": UsedReport},
        parameters=_PARAMETERS,
    )
    return Route(method="GET", path="/usage", answer=answer, operation=operation)


def _meant(cell: Cell, asked: Query) -> bool:
    return (not asked.keys or cell.key in asked.keys) and (not asked.models or cell.model in asked.models)


def _used(line: UsageRow, by: Sequence[Dimension], names: Mapping[str, str]) -> Used:
    places: dict[str, Any] = dict(zip(by, line.place, strict=True))
    for dimension, form in (("day", "%Y-%m-%d"), ("hour", "%Y-%m-%dT%H:00:00Z")):
        if dimension in places:
            places[dimension] = _time(places[dimension]).strftime(form)
    if "key" in places:
        places["name"] = names.get(places["key"], "")
    return Used(**places, **_figures(line.counts))


def _figures(counts: Counts) -> dict[str, Any]:
    return {
        "requests": counts.requests,
        "broken_requests": counts.broken,
        "input_tokens": counts.input,
        "cache_creation_input_tokens": counts.created,
        "cache_read_input_tokens": counts.cached,
        "output_tokens": counts.output,
        "thinking_tokens": counts.thinking,
        "seconds": counts.milliseconds / 1000,
        "web_searches": counts.web_searches,
        "web_fetches": counts.web_fetches,
        "tool_calls": counts.tool_calls,
    }


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
