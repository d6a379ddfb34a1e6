"""The command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from antiphon_check import __version__, report, speed
from antiphon_check.registry import LEVELS, Check, checks
from antiphon_check.runner import Result, chosen, run
from antiphon_check.server import Target
from antiphon_check.verdict import Failed

FINE, SOME_FAILED, WRONG_USE = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Runs the checks. Returns 0 when none failed, 1 when one did, 2 for arguments that make no sense."""
    options = _parser().parse_args(arguments)
    try:
        which = chosen(options.only)
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return WRONG_USE
    if options.list:
        print("\n".join(f"{check.id:28} {check.sentence}" for check in which))
        return FINE
    if not options.url.startswith(("http://", "https://")):
        print("give the server's address, such as http://127.0.0.1:8000", file=sys.stderr)
        return WRONG_USE
    target = Target(options.url, options.model, options.key, options.timeout, options.window)
    return _speed(target) if options.speed else _run(target, which, options)


def _run(target: Target, which: Sequence[Check], options: argparse.Namespace) -> int:
    quiet = "-" in (options.json, options.junit, options.markdown)
    results = run(target, which, _ignore if quiet else _tell)
    failed = [result for result in results if result.outcome == "failed"]
    for path, text in (
        (options.json, report.as_json(target.url, results)),
        (options.junit, report.as_junit(target.url, results)),
        (options.markdown, report.as_markdown(results)),
    ):
        if path == "-":
            print(text)
        elif path:
            Path(path).write_text(text + "\n", "utf-8")
    if not quiet:
        for result in report.distinct(failed):
            print(report.details(result))
        print("\n" + report.summary(results))
    return SOME_FAILED if failed else FINE


def _tell(result: Result) -> None:
    print(report.line(result), flush=True)


def _ignore(result: Result) -> None:
    pass


def _speed(target: Target) -> int:
    try:
        print(speed.table(speed.measure(target)))
    except Failed as failure:
        print(failure, file=sys.stderr)
        return SOME_FAILED
    return FINE


def _parser() -> argparse.ArgumentParser:
    levels = ", ".join(LEVELS)
    parser = argparse.ArgumentParser(
        prog="antiphon check", description="Check a server of the Anthropic Messages API, over HTTP alone."
    )
    parser.add_argument("url", nargs="?", default="", help="the server's address, such as http://127.0.0.1:8000")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--model", default="default", help="the model to ask for")
    parser.add_argument(
        "--key", default=os.environ.get("ANTHROPIC_API_KEY", ""), help="the server's key; else $ANTHROPIC_API_KEY"
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help=f"a level ({levels}), an id, or an id with *"
    )
    parser.add_argument("--list", action="store_true", help=f"list the {len(checks())} checks")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON; - is standard output")
    parser.add_argument("--junit", metavar="FILE", help="write JUnit's XML")
    parser.add_argument("--markdown", metavar="FILE", help="write tables in Markdown")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds that the server may be silent")
    parser.add_argument(
        "--window", type=int, default=0, help="tokens of the model's window, where the server does not say"
    )
    parser.add_argument("--speed", action="store_true", help="measure instead: first token, tokens a second, gaps")
    return parser
