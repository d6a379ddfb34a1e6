"""What all tests share: how hard the property tests look, and where a store can be.

By default they draw the same examples every time, so that a run says something of the change and nothing of luck;
`HYPOTHESIS_PROFILE=search make test` draws new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.storage import places
from tests.storage.places import Place

# On a machine with two busy cores the time of one example says nothing.
settings.register_profile("steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(scope="session")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Postgres and an S3-like server, for the session."""
    with places.shared(tmp_path_factory.mktemp("shared")) as place:
        yield place


@pytest.fixture(params=["local", "shared"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Each kind of store; nothing is kept there yet, or only what other tests left."""
    if request.param == "local":
        return places.local(tmp_path)
    found: Place = request.getfixturevalue("shared_place")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found
