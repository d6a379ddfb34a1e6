"""Runs the checks, one after another."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from antiphon_check.exchange import Exchange
from antiphon_check.registry import Check, checks
from antiphon_check.server import Server, Target
from antiphon_check.verdict import Failed, Unjudged

Outcome = Literal["passed", "failed", "unjudged"]


@dataclass
class Result:
    """What came of a check: `why` it did not pass, and on failure the last `exchange`. `seconds` is what it took."""

    check: Check
    outcome: Outcome
    why: str = ""
    exchange: Exchange | None = None
    seconds: float = field(default=0.0, compare=False)


def chosen(only: Iterable[str]) -> list[Check]:
    """The checks that one of the patterns names: a level, an id, or an id with `*`; all where there are none. Raises
    ValueError for a pattern that names none."""
    patterns = list(only)
    for pattern in patterns:
        if not any(_named(check, pattern) for check in checks()):
            raise ValueError(f"no check is called {pattern!r}; --list shows them")
    return [check for check in checks() if not patterns or any(_named(check, pattern) for pattern in patterns)]


def _named(check: Check, pattern: str) -> bool:
    return check.level == pattern or fnmatch.fnmatchcase(check.id, pattern)


def run(target: Target, which: Sequence[Check], tell: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """What came of each check, also told as it comes. A server that does not answer at all is asked only once."""
    control: dict[str, str] = {}
    silent = _silence(target)
    results = []
    for check in which:
        server = Server(target, control=control)
        result = Result(check, "failed", silent[0], silent[1]) if silent else _result(check, server)
        results.append(result)
        tell(result)
    return results


def _silence(target: Target) -> tuple[str, Exchange] | None:
    """Why the server cannot be asked anything, if it cannot."""
    server = Server(target)
    try:
        server.request("GET", "/v1/models")
        server.request("POST", "/v1/messages", server.plain())
    except Failed as failure:
        return str(failure), server.exchanges[-1]
    return None


def _result(check: Check, server: Server) -> Result:
    begun = time.monotonic()
    outcome: Outcome = "passed"
    why = ""
    try:
        check.run(server)
    except Unjudged as reason:
        outcome, why = "unjudged", str(reason)
    except Failed as failure:
        outcome, why = "failed", str(failure)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # The reply has a shape that the check did not reckon with.
        outcome, why = "failed", f"the reply has an unexpected shape ({type(error).__name__}: {error})"
    exchange = server.exchanges[-1] if outcome == "failed" and server.exchanges else None
    return Result(check, outcome, why, exchange, time.monotonic() - begun)
