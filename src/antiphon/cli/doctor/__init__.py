"""`antiphon doctor`: looks at everything that serving needs, and says of each thing what to do about it.

Findings come one by one, because some take a while. What an earlier one makes pointless is left out, and said to be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from antiphon import __version__
from antiphon.cli.doctor.finding import FAIL, FINE, SKIPPED, Finding
from antiphon.cli.doctor.machine import machine
from antiphon.cli.doctor.models import models
from antiphon.cli.doctor.places import keys, port, state
from antiphon.cli.doctor.requests import engines_and_requests
from antiphon.cli.doctor.tools import tools
from antiphon.cli.options import settings_options
from antiphon.settings.sources import BadSettings, Settings

__all__ = ["Finding", "examine"]


def examine(load: Callable[[], Settings], file: Path, say: Callable[[str], None]) -> Iterator[Finding]:
    """Every finding, in the order in which things are needed. `load` gives the settings or raises BadSettings; it reads
    `file`, if that exists; `say` is told what is waited for."""
    try:
        settings = load()
    except BadSettings as error:
        yield Finding("settings", FAIL, str(error), "correct it; `antiphon serve --help` lists every setting")
        yield from machine(Path.home())
        yield Finding("everything else", SKIPPED, "is decided by the settings")
        return
    yield Finding(
        "settings", FINE, f"{file.absolute()} and the environment" if file.exists() else "no antiphon.toml here"
    )
    yield from machine(Path(settings.cache_dir))
    yield from state(settings)
    yield from keys(settings)
    yield from tools(settings)
    found, running = port(settings)
    yield found
    broken = False
    for finding in models(settings):
        broken = broken or finding.status in (FAIL, SKIPPED)
        yield finding
    if broken and not running:
        yield Finding("a request", SKIPPED, "needs every model's file")
        return
    yield from engines_and_requests(settings, running=running, say=say)


@click.command()
@settings_options(unread=True)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(read: Callable[[], Settings], file: Path, as_json: bool) -> None:
    """Check everything that serving needs, and say what to do.

    Takes what `antiphon serve` takes. Machine, engine, model files, chat templates, port and keys are looked at, and a
    real request is sent: to the server that runs with these settings, otherwise to one started for it. The exit status
    is 1 when something fails.
    """
    findings = []
    for finding in examine(read, file, lambda sentence: click.echo(f"antiphon: {sentence}", err=True)):
        findings.append(finding)
        if not as_json:
            color = {"fine": "green", "note": "yellow", "fail": "red"}.get(finding.status)
            click.echo(click.style(f"{finding.status:7}", fg=color) + f" {finding.check}: {finding.detail}")
            if finding.remedy:
                click.echo(f"          → {finding.remedy}")
    sound = all(finding.status != "fail" for finding in findings)
    if as_json:
        report = {"version": __version__, "sound": sound, "findings": findings}
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    sys.exit(0 if sound else 1)
