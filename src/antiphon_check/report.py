"""The results: as text, JSON, JUnit's XML, and Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from antiphon_check import __version__
from antiphon_check.registry import LEVELS
from antiphon_check.runner import Result

_MARKS = {"passed": "ok", "failed": "FAILED", "unjudged": "--"}
_LONGEST = 1500
"""Characters of a command line that a terminal is shown."""
_SIGNS = {"passed": "✓", "failed": "✗", "unjudged": "–"}


def line(result: Result) -> str:
    """One line: what came of a check."""
    why = f"  ({result.why})" if result.outcome == "unjudged" else ""
    return f"{_MARKS[result.outcome]:6} {result.check.id:28} {result.check.sentence}{why}"


def details(result: Result) -> str:
    """A failure at length: why it matters, what went over the wire, and how to see it again."""
    said = [
        f"\n{result.check.id}: {result.check.sentence}",
        f"  what came    {result.why}",
        f"  why          {result.check.reason}",
        f"  source       {result.check.source}",
        f"  page         {result.check.page}",
    ]
    if result.exchange:
        said += [
            f"  again        {_cut(result.exchange.curl())}",
            "  the reply    " + result.exchange.reply().replace("\n", "\n               "),
        ]
    return "\n".join(said)


def distinct(failed: Iterable[Result]) -> list[Result]:
    """One of the failures for each exchange: where a server does not answer at all, every check fails of the same."""
    return list({id(result.exchange): result for result in reversed(list(failed))}.values())[::-1]


def summary(results: Sequence[Result]) -> str:
    """How many passed, by level."""
    return "\n".join(f"{level:6} {_counts(results, level)}" for level in _levels(results))


def as_json(url: str, results: Sequence[Result]) -> str:
    """Everything, as one JSON object."""
    found = [_fields(result) for result in results]
    return json.dumps({"url": url, "version": __version__, "checks": found}, indent=2, ensure_ascii=False)


def as_junit(url: str, results: Sequence[Result]) -> str:
    """As JUnit's XML, a suite for each level."""
    root = ElementTree.Element("testsuites", name=f"antiphon check {url}")
    for level in _levels(results):
        of_level = [result for result in results if result.check.level == level]
        outcomes = Counter(result.outcome for result in of_level)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=level,
            tests=str(len(of_level)),
            failures=str(outcomes["failed"]),
            skipped=str(outcomes["unjudged"]),
        )
        for result in of_level:
            case = ElementTree.SubElement(
                suite, "testcase", classname=level, name=result.check.id, time=f"{result.seconds:.3f}"
            )
            if result.outcome == "failed":
                ElementTree.SubElement(case, "failure", message=result.why).text = details(result)
            elif result.outcome == "unjudged":
                ElementTree.SubElement(case, "skipped", message=result.why)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True)


def as_markdown(results: Sequence[Result]) -> str:
    """As a table for each level."""
    said = []
    for level in _levels(results):
        said += [f"## {level}", "", _counts(results, level), "", "| | check | what must hold | |", "|---|---|---|---|"]
        said += [
            f"| {_SIGNS[result.outcome]} | `{result.check.id}` | {result.check.sentence} | {_cell(result.why)} |"
            for result in results
            if result.check.level == level
        ]
        said.append("")
    return "\n".join(said)


def _levels(results: Sequence[Result]) -> list[str]:
    return [level for level in LEVELS if any(result.check.level == level for result in results)]


def _counts(results: Sequence[Result], level: str) -> str:
    outcomes = Counter(result.outcome for result in results if result.check.level == level)
    judged = outcomes["passed"] + outcomes["failed"]
    aside = f", {outcomes['unjudged']} not judged" if outcomes["unjudged"] else ""
    return f"{outcomes['passed']} of {judged} passed{aside}"


def _cut(command: str) -> str:
    return command if len(command) <= _LONGEST else f"{command[:_LONGEST]}… (whole with --json)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _fields(result: Result) -> dict[str, Any]:
    check = result.check
    fields: dict[str, Any] = {
        "id": check.id,
        "level": check.level,
        "sentence": check.sentence,
        "outcome": result.outcome,
        "why": result.why,
        "seconds": round(result.seconds, 3),
    }
    if result.exchange:
        fields |= {
            "reason": check.reason,
            "source": check.source,
            "page": check.page,
            "curl": result.exchange.curl(),
            "reply": result.exchange.reply(),
        }
    return fields
