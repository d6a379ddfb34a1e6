"""Runs the peers one after another: `python -m bench.peers.run [NAME …]`. Those that are not named keep what was
measured of them before."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path

from antiphon_check import report, speed
from antiphon_check.registry import checks
from antiphon_check.runner import Result, run
from antiphon_check.server import Target
from antiphon_check.verdict import Failed
from bench.peers import pages, results
from bench.peers.servers import OF_ENGINES, PEERS, STREAMS, WINDOW, Peer

_SILENCE = 120.0
"""Seconds that a server may be silent."""
_LONGEST = 300
"""Characters of a reason that are kept."""


def measured(peer: Peer, folder: Path, before: results.Measured | None) -> results.Measured:
    """Start it, time it, check it (unless that was done `before`), stop it. Raises RuntimeError or SystemExit where it
    does not start."""
    with peer.start(folder) as (url, model):
        target = Target(url, model, seconds=_SILENCE, window=WINDOW)
        timed = None if peer.scripted else _timed(target)
        outcomes = before.checks if before else _checked(target, peer, folder)
    return results.Measured(
        title=peer.title,
        version=peer.version,
        date=time.strftime("%Y-%m-%d"),
        note=peer.note,
        checks=outcomes,
        speed=timed,
    )


def _checked(target: Target, peer: Peer, folder: Path) -> dict[str, str]:
    which = [each for each in checks() if not (peer.scripted and each.id in OF_ENGINES)]
    found = {
        result.check.id: f"{result.outcome}: {_short(result.why, folder)}".removesuffix(": ")
        for result in run(target, which, _tell)
    }
    return {each.id: found.get(each.id, "unjudged: the engine is a script") for each in checks()}


def _timed(target: Target) -> speed.Speed | None:
    try:
        return speed.measure(target, (1, STREAMS))
    except Failed as failure:
        print(f"not timed: {failure}", flush=True)
        return None


def _tell(result: Result) -> None:
    if result.outcome == "failed":
        print(report.line(result), "|", result.why[:_LONGEST], flush=True)


def _short(why: str, folder: Path) -> str:
    # Replies may name the files of this machine.
    for place in (folder, results.FILE.parents[1], Path.home()):
        why = why.replace(str(place), "…")
    return why if len(why) <= _LONGEST else f"{why[:_LONGEST]}…"


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return f"{processor}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def main() -> int:
    """The command: 0 when all that were named were measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}; none: all")
    parser.add_argument("--log", type=Path, help="a folder to keep the servers' output in; none: it is not kept")
    parser.add_argument(
        "--speed", action="store_true", help="only time again what was measured: best on an idle machine"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - set(PEERS):
        parser.error(f"not known: {', '.join(sorted(unknown))}")
    kept = results.load()
    if given.speed and (unchecked := set(given.names or PEERS) - set(kept.servers)):
        parser.error(f"never measured: {', '.join(sorted(unchecked))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    missing = []
    for name in given.names or PEERS:
        print(f"{name} {PEERS[name].version}", flush=True)
        with tempfile.TemporaryDirectory() as fresh:
            folder = given.log or Path(fresh)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                found = measured(PEERS[name], folder, kept.servers[name] if given.speed else None)
            except (OSError, RuntimeError, SystemExit) as trouble:
                print(f"{name} could not be measured: {trouble}", file=sys.stderr, flush=True)
                missing.append(name)
                continue
        results.add(name, found, _machine(), list(PEERS))
    pages.write()
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
