"""The documentation agrees with the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import antiphon
from antiphon.cli.reference.pages import PAGES
from antiphon.engines.models import model_store
from bench.peers import pages

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", PAGES)
def test_made_pages_are_current(name: str) -> None:
    """The pages made from the program are what it would make now; else run `make docs-generated`."""
    assert (ROOT / "docs" / name).read_text("utf-8") == PAGES[name]()


def test_measured_tables_are_current() -> None:
    """The tables of peers are those of docs/peers.json; else run `make docs-generated`."""
    for file, text in pages.written().items():
        assert file.read_text("utf-8") == text, file.name


def test_the_newest_change_is_of_this_version() -> None:
    """The changelog's first heading is the version of the package."""
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert heading
    assert heading[1] == antiphon.__version__


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))]
)
def test_what_a_page_points_at_exists(page: str) -> None:
    """Links lead to files of the repository."""
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text("utf-8")):
        assert "://" in target or ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", ["README.md", "docs/path.md", "docs/operating.md", "docs/render.md"])
def test_what_a_page_names_exists(page: str) -> None:
    """Files named in the page exist in the package."""
    for named in re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", (ROOT / page).read_text("utf-8")):
        assert list((ROOT / "src/antiphon").rglob(named.rstrip("/"))), named


def test_the_readme_names_the_default_model() -> None:
    """The example asks for the model that is served without an argument."""
    assert f'model="{model_store.DEFAULT.name}"' in (ROOT / "README.md").read_text("utf-8")


def test_everything_is_pinned_and_nothing_by_address() -> None:
    """The constraints pin every dependency of the package to one version, without any URL."""
    pins = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if "==" in line
    }
    assert "://" not in (ROOT / "constraints.txt").read_text("utf-8")
    wanted = re.findall(r'^    "([a-z0-9_-]+)",$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert wanted
    assert {name.replace("_", "-") for name in wanted} <= pins


def test_the_dashboard_and_the_page_know_the_metrics() -> None:
    """The dashboard and the operator's page name exactly metrics that the server has, and the page all of them."""
    from antiphon.observability import metrics, model_loads
    from antiphon.observability.model_states import ModelState

    text = (metrics.exposition() + model_loads.exposition({"any": ModelState()})).decode()
    served = set(re.findall(r"^# TYPE (antiphon_\w+) (?:counter|gauge|histogram)$", text, re.M))
    served = {name for name in served if not name.endswith("_created")}
    page = set(re.findall(r"antiphon_\w+", (ROOT / "docs/operating.md").read_text("utf-8")))
    drawn = {
        name.removesuffix("_bucket")
        for name in re.findall(r"antiphon_\w+", (ROOT / "docs/grafana.json").read_text("utf-8"))
    }
    assert drawn <= served
    assert page == served


def test_the_settings_in_the_operators_page_are_settings() -> None:
    """Every option and every key of the example exists."""
    from antiphon.settings import sources

    text = (ROOT / "docs/operating.md").read_text("utf-8")
    flags = {option.flag for option in sources.options()} | {"--print-config"}
    assert set(re.findall(r"--[a-z][a-z-]+", text)) - {"--minutes"} <= flags
    example = text.partition("```toml\n")[2].partition("```")[0]
    keys = set(re.findall(r"^(\w+) =", example, re.M))
    assert keys
    assert keys <= {option.name for option in sources.options()}
