"""The checks on servers with one known fault each."""

from __future__ import annotations

import pytest

from antiphon_check.registry import checks
from antiphon_check.runner import run
from antiphon_check.server import Target

from .faults import FAULTS
from .reference import KEY, Fault, serving


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_fault_is_found_by_its_checks_alone(fault: Fault) -> None:
    """A server with one fault fails the checks that are named for it, and no other."""
    with serving(fault) as url:
        results = run(Target(url, key=KEY, seconds=60), checks())
    assert {result.check.id for result in results if result.outcome == "failed"} == fault.found_by


def test_every_check_finds_something() -> None:
    """There is a fault for each check, but for those of clients that leave: a check that cannot fail is none."""
    found = frozenset[str]().union(*(fault.found_by for fault in FAULTS))
    assert {check.id for check in checks()} - found == {"agent.cancel"}
