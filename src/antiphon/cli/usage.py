"""`antiphon usage`: what keys have used, of which models, and when."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from antiphon.accounts.key_store import KeyStore
from antiphon.accounts.report import DIMENSIONS, Dimension, UsageRow, report
from antiphon.accounts.usage import DAY, HOUR
from antiphon.accounts.usage_store import UsageStore
from antiphon.cli.keys import records_of, store_options
from antiphon.cli.options import Failed
from antiphon.cli.table import table
from antiphon.settings.sources import Settings

_SHOWN = {
    "requests": "requests",
    "broken": "broken",
    "input": "input",
    "created": "cache writes",
    "cached": "cache reads",
    "output": "output",
    "seconds": "seconds",
    "tool_calls": "tool calls",
}
"""The figures of the table, and their heads."""


@click.command()
@store_options
@click.option("--by", default="day,key,model", show_default=True, help=f"What to group by: {', '.join(DIMENSIONS)}.")
@click.option("--since", metavar="WHEN", help="A date or time in UTC, or a span back from now (7d).  [this month]")
@click.option("--until", metavar="WHEN", help="The end, written the same way and not itself included.  [now]")
@click.option("--key", "keys", multiple=True, metavar="NAME", help="Only this key, by name or label; may be repeated.")
@click.option("--whole", is_flag=True, help="Only complete replies, by the figures that they reported themselves.")
@click.option("--csv", "shape", flag_value="csv", help="Print comma-separated values.")
@click.option("--json", "shape", flag_value="json", help="Print JSON.")
def usage(
    settings: Settings,
    by: str,
    since: str | None,
    until: str | None,
    keys: tuple[str, ...],
    whole: bool,
    shape: str | None,
) -> None:
    """Show what was used: requests, tokens, time and tools, by key, model and day.

    Works while the server runs or not. Name the server by its --port, or by the --store that several share. A request
    whose reply broke off counts as broken, with what it had used by then.
    """
    dimensions = _dimensions(by)
    now = datetime.now(UTC)
    begin = _moment(since, "--since") if since else int(now.replace(day=1, hour=0, minute=0, second=0).timestamp())
    end = _moment(until, "--until") if until else int(now.timestamp()) + HOUR
    lines, names = _lines(settings, dimensions, (begin // HOUR * HOUR, -(-end // HOUR) * HOUR), whole)
    if keys:
        if "key" not in dimensions:
            raise Failed("--key needs the usage of each key: add key to --by")
        place = dimensions.index("key")
        lines = [line for line in lines if {line.place[place], names.get(str(line.place[place]))} & set(keys)]
    rows = [_row(line, dimensions, names) for line in lines]
    if shape == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
    elif shape == "csv":
        click.echo(_csv(rows), nl=False)
    else:
        click.echo(_table(rows, dimensions), nl=False)


def _dimensions(by: str) -> list[Dimension]:
    dimensions: list[Dimension] = []
    for name in filter(None, by.split(",")):
        if name not in DIMENSIONS:
            raise Failed(f"--by {name!r} is not one of {', '.join(DIMENSIONS)}")
        dimensions.append(name)
    return dimensions


def _lines(
    settings: Settings, by: list[Dimension], period: tuple[int, int], whole: bool
) -> tuple[list[UsageRow], dict[str, str]]:
    """The lines, and the names of keys by their labels. Raises Failed."""
    records = records_of(settings)
    try:
        store = KeyStore(records)
        names = {} if store.untouched else {key.label: key.name for key in store.all()}
        cells = UsageStore(records).cells(Path(settings.journals), *period)
    except OSError as error:
        raise Failed(f"the usage in {records.place} cannot be read: {error}") from None
    finally:
        records.close()
    return report(cells, by, whole=whole), names


def _row(line: UsageRow, by: list[Dimension], names: dict[str, str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for dimension, place in zip(by, line.place, strict=True):
        if isinstance(place, int):
            row[dimension] = _time(place, dimension)
        else:
            row[dimension] = names.get(place, place) if dimension == "key" else place
        if dimension == "key":
            row["label"] = place
    counts = msgspec.structs.asdict(line.counts)
    row["seconds"] = counts.pop("milliseconds") / 1000
    return row | counts


def _time(moment: int, dimension: Dimension) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d" if dimension == "day" else "%Y-%m-%dT%H:00Z")


def _table(rows: list[dict[str, Any]], by: list[Dimension]) -> str:
    if not rows:
        return "nothing was used in this time\n"
    total = {name: sum(row[name] for row in rows) for name in _SHOWN}
    lines = [[*(row[name] or "-" for name in by), *(_figure(row[name]) for name in _SHOWN)] for row in rows]
    if by and len(rows) > 1:
        lines.append(["total", *[""] * (len(by) - 1), *(_figure(total[name]) for name in _SHOWN)])
    return table([*by, *_SHOWN.values()], lines, right=frozenset(range(len(by), len(by) + len(_SHOWN))))


def _figure(number: float) -> str:
    return f"{number:.1f}" if isinstance(number, float) else str(number)


def _csv(rows: list[dict[str, Any]]) -> str:
    written = io.StringIO()
    if rows:
        writer = csv.DictWriter(written, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return written.getvalue()


def _moment(text: str, option: str) -> int:
    if text.endswith("d") and text[:-1].isdecimal():
        return int(time.time()) // DAY * DAY - int(timedelta(days=int(text[:-1])).total_seconds())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(f"{option} is {text!r}: it takes a date (2026-11-01), a time, or a span of days (7d)") from None
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())
