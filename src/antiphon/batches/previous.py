"""Batches as servers kept them until 2026-11: a folder each, which is taken over into the store.

about.json      whose it is, when it came, and with which headers
requests.jsonl  a line for each request: its `custom_id` and its `params`
results.jsonl   a line for each answer so far
begun           `+` and the id of each request that was begun, `-` and that of each that was let go of
cancelled       there once nobody wants the rest; its time is when that was said
ended.json      when the last request was done with, and how many went how
lock            held by the process that works on it
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection

from antiphon.batches import requests
from antiphon.batches.store import Batch, BatchStore, Counts, row_of
from antiphon.batches.tables import ANSWERS, ATTEMPTS, BATCHES, FOLDER, SHARES, TABLES
from antiphon.storage import files
from antiphon.storage.contents import FolderContents
from antiphon.storage.lines import whole_lines
from antiphon.storage.locks import locked

log = logging.getLogger("antiphon")

_PATIENCE = 10.0
"""Seconds for which a worker waits for another that takes over a batch."""


class _About(msgspec.Struct):
    id: str
    key: str
    created: float
    total: int
    headers: dict[str, str]


class _Ended(msgspec.Struct):
    at: float
    counts: Counts


class _Outcome(msgspec.Struct):
    type: Literal["succeeded", "errored", "canceled", "expired"]


class _Answer(msgspec.Struct):
    custom_id: str
    result: _Outcome


class _Kept(msgspec.Struct):
    """What there was of a batch: itself, the lines of its requests, and the rows of its answers and of the times that a
    server has died while it worked on a request."""

    batch: Batch
    lines: list[bytes]
    answers: list[dict[str, Any]]
    deaths: list[dict[str, Any]]


async def take_over(folder: Path, batches: BatchStore) -> None:
    """Keep what is in such a folder in the store instead. What cannot be read stays where it is. Several workers may do
    this at once: each of them goes on when all of it is done."""
    for place in await asyncio.to_thread(_places, folder):
        try:
            async with locked(place / "lock", patience=_PATIENCE):
                await _move(place, batches)
        except FileNotFoundError:
            # Another worker was faster.
            continue
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("the batch in %s stays there: %s", place, error)
    await asyncio.to_thread(_clear, folder)


async def _move(place: Path, batches: BatchStore) -> None:
    kept = await asyncio.to_thread(_read, place)
    if await batches.get(kept.batch.id, kept.batch.owner) is None:
        await (_add(kept, batches) if kept.batch.ended is None else _add_ended(place, kept.batch, batches))
    await asyncio.to_thread(_forget, place)


async def _add_ended(place: Path, batch: Batch, batches: BatchStore) -> None:
    batch.results = f"{FOLDER}/{batch.id}.results"
    async with contextlib.aclosing(FolderContents(place.parent).read(f"{place.name}/results.jsonl")) as pieces:
        await batches.store.contents.write(batch.results, pieces)
    await batches.store.records.write(TABLES, lambda one: one.execute(BATCHES.insert().values(row_of(batch))))


async def _add(previous: _Kept, batches: BatchStore) -> None:
    batch = previous.batch
    shares = await batches.write_requests(batch, previous.lines)
    ids = [item.custom_id for item in requests.read(previous.lines, 0)]
    share_of = {id: share["number"] for share in shares for id in ids[share["first"] : share["first"] + share["count"]]}
    for row in (*previous.answers, *previous.deaths):
        row |= {"batch": batch.id, "share": share_of.get(row["custom_id"], 0)}

    def work(connection: Connection) -> None:
        connection.execute(BATCHES.insert().values(row_of(batch)))
        for table, rows in ((SHARES, shares), (ANSWERS, previous.answers), (ATTEMPTS, previous.deaths)):
            if rows:
                connection.execute(table.insert(), rows)

    await batches.store.records.write(TABLES, work)


def _places(folder: Path) -> list[Path]:
    return sorted(folder.glob("msgbatch_*"))


def _read(place: Path) -> _Kept:
    about = msgspec.json.decode((place / "about.json").read_bytes(), type=_About)
    batch = Batch(id=about.id, owner=about.key, created=about.created, total=about.total, headers=about.headers)
    with contextlib.suppress(FileNotFoundError):
        batch.cancelled = (place / "cancelled").stat().st_mtime
    with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
        ended = msgspec.json.decode((place / "ended.json").read_bytes(), type=_Ended)
        batch.ended, batch.counts = ended.at, ended.counts
        return _Kept(batch, [], [], [])
    return _Kept(batch, list(_lines(place / "requests.jsonl")), _answers(place), _deaths(place))


def _forget(place: Path) -> None:
    # In one step, so that one of which only a part is left is not taken for a whole one.
    old = place.with_name(f"{files.DRAFT}{place.name}")
    place.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def _clear(folder: Path) -> None:
    for left in folder.glob(f"{files.DRAFT}*"):
        shutil.rmtree(left, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _answers(place: Path) -> list[dict[str, Any]]:
    """The answers that can be read, one for each request."""
    rows = dict[str, dict[str, Any]]()
    for line in _lines(place / "results.jsonl"):
        with contextlib.suppress(msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            answer = msgspec.json.decode(line, type=_Answer)
            row = {"custom_id": answer.custom_id, "outcome": answer.result.type, "line": line}
            rows.setdefault(answer.custom_id, row)
    return list(rows.values())


def _deaths(place: Path) -> list[dict[str, Any]]:
    begun = Counter[str]()
    for line in _lines(place / "begun"):
        begun[line[1:].decode("ascii", "replace")] += 1 if line.startswith(b"+") else -1
    return [{"custom_id": id, "claim": f"before {n}"} for id, times in begun.items() for n in range(times)]


def _lines(file: Path) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError):
        yield from whole_lines(file)
