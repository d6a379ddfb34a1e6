"""Every test that takes a `place` runs over each kind of store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage import places
from tests.storage.places import Place


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Postgres and an S3-like server, for the session."""
    with places.shared(tmp_path_factory.mktemp("shared")) as place:
        yield place


@pytest.fixture(params=["local", "shared"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place where nothing is kept yet, or only what other tests left."""
    if request.param == "local":
        return places.local(tmp_path)
    found: Place = request.getfixturevalue("shared_place")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found
