"""What was measured, as it is kept in docs/peers.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from antiphon_check.speed import Speed

FILE = Path(__file__).parents[2] / "docs" / "peers.json"


class Measured(msgspec.Struct, kw_only=True):
    """One server: its name for people, its version, the day it was measured on, a note on how it ran, the outcome of
    each check by its id, such as `passed` or `failed: expected status 400, got 200`, and its speed (None: it was not
    timed, or a request failed)."""

    title: str
    version: str
    date: str
    note: str
    checks: dict[str, str]
    speed: Speed | None = None


def outcome(said: str) -> str:
    """The outcome alone: `passed`, `failed` or `unjudged`."""
    return said.partition(":")[0]


class Results(msgspec.Struct):
    """The servers by their short names, and the machine that they ran on."""

    machine: str
    servers: dict[str, Measured]


def load() -> Results:
    """What is kept; nothing where the file is missing. Raises msgspec.ValidationError for a file that is not ours."""
    if not FILE.exists():
        return Results("", {})
    return msgspec.json.decode(FILE.read_bytes(), type=Results)


def add(name: str, found: Measured, machine: str, order: Sequence[str]) -> None:
    """Keep what was measured of a server, in this order of all of them, a line for each check, so that what has changed
    can be seen. Those that were measured meanwhile are kept too."""
    kept = load()
    servers = kept.servers | {name: found}
    kept.servers = {each: servers[each] for each in order if each in servers}
    kept.machine = machine
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
