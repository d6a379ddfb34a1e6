"""Runs where Ray is installed: `make ray`."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator

import pytest

from tests.ray.cluster import Cluster, running

if importlib.util.find_spec("ray") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    with warnings.catch_warnings():
        # Ray itself uses what its libraries have deprecated.
        warnings.simplefilter("ignore")
        importlib.import_module("ray.serve")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Ray cluster of one machine that says it had eight processors."""
    with running(cpus=8) as cluster:
        yield cluster
