"""The pages of the checks agree with the checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon_check.registry import LEVELS, checks

from .pages import page

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("level", LEVELS)
def test_pages_are_current(level: str) -> None:
    """Each page is what the checks would make now, with what they send; else run `make docs-generated`."""
    assert (ROOT / "docs" / "checks" / f"{level}.md").read_text("utf-8") == page(level)


def test_a_failure_leads_to_its_section() -> None:
    """The address that a failure shows is that of a heading of the page, as renderers of Markdown make it."""
    for check in checks():
        file, _, anchor = check.page.partition("#")
        headings = [line[3:] for line in (ROOT / file).read_text("utf-8").splitlines() if line.startswith("## ")]
        assert anchor in [heading.lower().replace(".", "") for heading in headings]
