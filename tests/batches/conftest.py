"""A store of SQLite and a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.storage.store import Store, open_store
from tests.storage.places import local


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """SQLite and a folder."""
    place = local(tmp_path)
    store = open_store(place.records, place.contents)
    yield store
    store.close()
