"""Named checks for the programs here: each prints `ok NAME` or `FAIL NAME: why`. Standard library only, because it is
used inside the environments of the programs. A program is run as `PROGRAM URL scripted|real LOG`."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

URL, KIND, LOG = sys.argv[1], sys.argv[2], Path(sys.argv[3])
STEADY: dict[str, Any] = {"temperature": 0} if KIND == "real" else {}
"""What programs ask a real model for besides, so that no check depends on luck."""
_checks: list[tuple[str, Callable[[], Any]]] = []


def check(*kinds: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Marks a function as a check of these kinds of server (none named: of both)."""

    def mark(function: Callable[[], Any]) -> Callable[[], Any]:
        if not kinds or KIND in kinds:
            _checks.append((function.__name__, function))
        return function

    return mark


def requests(since: int = 0) -> list[dict[str, Any]]:
    """What the server was asked and what it answered, from the log, after the first `since` ones."""
    time.sleep(0.3)
    lines = LOG.read_text("utf-8").splitlines() if LOG.exists() else []
    return sorted(map(json.loads, lines), key=lambda entry: int(entry["number"]))[since:]


def streams(entries: list[dict[str, Any]]) -> list[bool]:
    """For each message that was asked for: whether as a stream."""
    asked = [e for e in entries if e["method"] == "POST" and e["path"].partition("?")[0] == "/v1/messages"]
    return [bool(entry["body"].get("stream")) for entry in asked]


def raised(kind: type[BaseException], function: Callable[[], Any]) -> Any:
    """The error of this kind that a function raises; no error is a failure."""
    try:
        function()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def run() -> None:
    """Do all checks; the exit status tells whether all went well."""
    failed = 0
    for name, function in _checks:
        try:
            function()
            print("ok", name, flush=True)
        except BaseException as error:
            failed += 1
            print(f"FAIL {name}: {type(error).__name__}: {error}".replace("\n", " ")[:2000], flush=True)
            traceback.print_exc()
    sys.exit(1 if failed else 0)
