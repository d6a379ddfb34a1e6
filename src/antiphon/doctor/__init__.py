"""`antiphon doctor`: looks at everything that serving needs, and says of each thing what to do about it.

Findings come one by one, because some take a while. What an earlier one makes pointless is left out, and said to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from antiphon.config import BadSettings, Settings
from antiphon.doctor.finding import FAIL, FINE, SKIPPED, Finding
from antiphon.doctor.machine import machine
from antiphon.doctor.models import models
from antiphon.doctor.places import keys, port, state
from antiphon.doctor.requests import engines_and_requests

__all__ = ["Finding", "examine"]


def examine(load: Callable[[], Settings], say: Callable[[str], None]) -> Iterator[Finding]:
    """Every finding, in the order in which things are needed. `load` gives the settings or raises BadSettings; `say` is
    told what is waited for."""
    try:
        settings = load()
    except BadSettings as error:
        yield Finding("settings", FAIL, str(error), "mend that; `antiphon serve --help` lists every setting")
        yield from machine(Path.home())
        yield Finding("everything else", SKIPPED, "is decided by the settings")
        return
    file = Path("antiphon.toml")
    yield Finding(
        "settings", FINE, f"{file.absolute()} and the environment" if file.exists() else "no antiphon.toml here"
    )
    yield from machine(Path(settings.cache_dir))
    yield from state(settings)
    yield from keys(settings)
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
