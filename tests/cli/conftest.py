"""No test of the command line sees the settings or the cache of whoever runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.settings import sources


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or the cache of whoever runs it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for option in sources.options():
        monkeypatch.delenv(option.variable, raising=False)
