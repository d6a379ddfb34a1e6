"""`antiphon keys`: the keys of a server, added, listed, changed and revoked while it runs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from antiphon.accounts.key_store import KeyStore, NameTaken, UnknownKey
from antiphon.accounts.keys import Allowance, Key, is_name
from antiphon.cli.options import Failed, settings_options
from antiphon.cli.table import table
from antiphon.settings.sources import Settings
from antiphon.storage.records import Records

_KINDS = tuple(name.replace("_", "-") for name in Allowance.__struct_fields__)
_UNITS = {"m": 60, "h": 3600, "d": 24 * 3600}
_SPAN = re.compile(r"(\d+)([mhd])")
_NUMBER = re.compile(r"(\d+)([kMG]?)")
_SCALES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@click.group()
def keys() -> None:
    """Add, list, change and revoke API keys, while the server runs or not.

    A change is in force within a second. Name the server by its --port, or by the --store that several share.
    """


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[KeyStore]:
    """The keys of the server that is meant. Raises Failed for all that goes wrong with it."""
    records = records_of(settings)
    try:
        yield KeyStore(records)
    except NameTaken as taken:
        raise Failed(f"there is a key called {str(taken)!r} already; choose another name, or revoke it first") from None
    except UnknownKey as unknown:
        raise Failed(f"there is no key called {str(unknown)!r}; `antiphon keys list` shows all of them") from None
    except OSError as error:
        raise Failed(f"the keys in {records.place} cannot be read or written: {error}") from None
    finally:
        records.close()


def records_of(settings: Settings) -> Records:
    """The database of the server that is meant. Raises Failed."""
    if not settings.store and settings.port == 0:
        raise Failed("port 0 does not say where a server is: give the port that it printed, or its --store")
    try:
        return Records(settings.records)
    except ValueError as error:
        raise Failed(str(error)) from None


store_options = settings_options("port", "state_dir", "store")


def _rights(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say what a key may do; what is not given stays None."""
    for option in (
        click.option(
            "--admin/--no-admin", default=None, help="Whether it sees everybody's usage, and may change keys."
        ),
        click.option("--expires", metavar="WHEN", help="A date (2027-01-31), a time, or a span from now (30d, 12h)."),
        click.option(
            "--budget", metavar="TOKENS", help="Tokens per calendar month, new input and output together (5M)."
        ),
        click.option(
            "--limit",
            "limits",
            metavar="KIND=NUMBER",
            multiple=True,
            help=f"A limit per minute on {', '.join(_KINDS)}; may be repeated.",
        ),
        click.option(
            "--models", metavar="NAMES", help="The models it may use: names or patterns, separated by commas."
        ),
    ):
        command = option(command)
    return command


@keys.command()
@store_options
@click.argument("name")
@_rights
def add(settings: Settings, name: str, **options: Any) -> None:
    """Add a key, and print it: this is the only time that it is shown."""
    if not is_name(name):
        raise Failed(f"{name!r} cannot be a key's name: a name may not be empty, or begin or end with whitespace")
    with _opened(settings) as store:
        key, secret = store.add(name, **_read(options))
    click.echo(secret)
    click.echo(f"antiphon: {name} is {key.label} in the log; only a hash of the key is kept", err=True)


@keys.command("list")
@store_options
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
def list_(settings: Settings, as_json: bool) -> None:
    """List the keys, also those that were revoked."""
    with _opened(settings) as store:
        found = [] if store.untouched else store.all()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_shown(key) for key in found])))
        return
    heads = ("name", "label", "key", "status", "created", "expires", "models", "limits a minute", "budget", "admin")
    click.echo(table(heads, [tuple(map(_cell, _shown(key).values())) for key in found]), nl=False)


@keys.command("set")
@store_options
@click.argument("name")
@_rights
def set_(settings: Settings, name: str, **given: Any) -> None:
    """Change what a key may do. What is not named stays; an empty value takes a bound away."""
    rights = _read(given)
    if not rights:
        raise Failed("nothing to change: name what it should be (--models, --limit, --budget, --expires, --admin)")
    with _opened(settings) as store:
        store.change(name, **rights)


@keys.command()
@store_options
@click.argument("name")
def revoke(settings: Settings, name: str) -> None:
    """Revoke a key permanently."""
    with _opened(settings) as store:
        store.revoke(name)


@keys.command()
@store_options
@click.argument("name")
@click.option(
    "--overlap", metavar="SPAN", default="0m", help="How long the old key goes on working (12h).  [not at all]"
)
def rotate(settings: Settings, name: str, overlap: str) -> None:
    """Exchange a key for a new one of the same rights, files and budget, and print it."""
    seconds = _span(overlap)
    if seconds is None:
        raise Failed(f"--overlap is {overlap!r}: it takes a span, as in 30m, 12h or 7d")
    with _opened(settings) as store:
        _, secret = store.rotate(name, overlap=seconds)
    click.echo(secret)


def _read(options: dict[str, Any]) -> dict[str, Any]:
    """The rights that were given, as fields of a `Key`. Raises Failed."""
    rights: dict[str, Any] = {}
    if options["models"] is not None:
        rights["models"] = tuple(name.strip() for name in options["models"].split(",") if name.strip())
    if options["limits"]:
        rights["allowance"] = _allowance(options["limits"])
    if options["budget"] is not None:
        rights["budget"] = _number(options["budget"] or "0", "--budget")
    if options["expires"] is not None:
        rights["expires"] = _moment(options["expires"]) if options["expires"] else None
    if options["admin"] is not None:
        rights["admin"] = options["admin"]
    return rights


def _allowance(limits: tuple[str, ...]) -> Allowance:
    found: dict[str, int] = {}
    for limit in filter(None, limits):
        kind, _, number = limit.partition("=")
        if kind not in _KINDS:
            raise Failed(f"--limit {limit!r} is not KIND=NUMBER with one of {', '.join(_KINDS)}")
        found[kind.replace("-", "_")] = _number(number, f"--limit {kind}")
    return Allowance(**found)


def _number(text: str, option: str) -> int:
    match = _NUMBER.fullmatch(text.replace("_", ""))
    if not match:
        raise Failed(f"{option} is {text!r}: it takes a whole number, as in 500k or 5M")
    return int(match[1]) * _SCALES[match[2]]


def _span(text: str) -> float | None:
    found = _SPAN.fullmatch(text)
    return float(found[1]) * _UNITS[found[2]] if found else None


def _moment(text: str) -> float:
    span = _span(text)
    if span is not None:
        return time.time() + span
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(f"--expires is {text!r}: it takes a date (2027-01-31), a time, or a span (30d, 12h)") from None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _shown(key: Key) -> dict[str, Any]:
    limits = msgspec.structs.asdict(key.allowance)
    return {
        "name": key.name,
        "label": key.label,
        "key": key.hint,
        "status": key.status(time.time()),
        "created": _day(key.created),
        "expires": _day(key.expires),
        "models": list(key.models),
        "limits": {kind.replace("_", "-"): most for kind, most in limits.items() if most},
        "budget": key.budget or None,
        "admin": key.admin,
    }


def _day(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{kind}={most}" for kind, most in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(value) or "all"
    if isinstance(value, bool):
        return "yes" if value else "-"
    return "-" if value is None else str(value)
