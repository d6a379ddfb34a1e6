"""The folder is the registry: what exports a SURFACE is served, once."""

from __future__ import annotations

import time

import pytest

from antiphon import surfaces
from antiphon.surfaces.anthropic.failures import envelope
from antiphon.surfaces.http.gate import Gate, Placed
from antiphon.surfaces.ids import made_at
from antiphon.surfaces.surface import Route
from tests.surfaces.scripted_service import ScriptedService

OPTIONS = surfaces.Options(seal_key=b"k")


def test_the_surfaces_of_the_folder_are_found() -> None:
    """By their exported records, each under its own name."""
    assert {"messages", "models", "operations"} <= set(surfaces.find())


def test_two_routes_at_one_place_are_refused() -> None:
    """At start-up, not when a request finds the wrong one."""
    routes = surfaces.find()["models"].routes(ScriptedService(), OPTIONS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two surfaces answer GET /models"):
        Gate([Placed(route, envelope) for route in [*routes, *routes]], envelope, OPTIONS)


def test_ids_are_opaque_and_unique() -> None:
    """Prefix and 24 letters or digits."""
    ids = {surfaces.fresh_id("req_") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(each) == 28 and each.startswith("req_") and each[4:].isalnum() for each in ids)


def test_ids_have_their_time_in_them() -> None:
    """To the microsecond, in the order they were made in; others, also such as were made of chance alone, tell none."""
    before = time.time_ns() // 1000 / 1e6
    ids = [surfaces.fresh_id("file_") for _ in range(100)]
    made = [made_at(id) for id in ids]
    assert all(each is not None and before <= each <= time.time() for each in made)
    assert made == sorted(made, key=lambda each: each or 0.0)
    for other in ("", "file_", "file_1", "file_" + "z" * 24, "file_" + "0" * 24, "file_" + "é" * 24, ids[0] + "0"):
        assert made_at(other) is None


def test_a_route_is_closed_unless_it_says_otherwise() -> None:
    """Forgetting to say so must not let anybody in."""
    assert not Route(method="GET", path="/", answer=lambda exchange: None).open  # type: ignore[arg-type,return-value]
