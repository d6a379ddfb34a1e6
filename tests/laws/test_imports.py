"""Import law: a room knows only the rooms that its `__init__` names, and no two rooms know each other."""

from __future__ import annotations

import pytest

from antiphon.cli.reference.rooms import LAYERS, PACKAGE, actual, declared, layer_graph, rows

SHARE_A_RECORD = {"parsing", "constraint"}
"""The two rooms that know each other: a format's record holds its parser and its grammar."""
SHARED_BY_SURFACES = {"anthropic", "content", "http", "openai"}

ROOMS = declared()


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_a_room_imports_what_it_says(name: str) -> None:
    """What a room imports of other rooms is what its docstring says that it knows, neither more nor less."""
    assert actual(name) == ROOMS[name].knows


def test_rooms_know_one_another_in_one_direction() -> None:
    """There is no circle among the rooms, but for the two that share a record."""
    graph = {name: room.knows for name, room in ROOMS.items()}
    assert all(graph[name] >= SHARE_A_RECORD - {name} for name in SHARE_A_RECORD)
    rows({name: knows - (SHARE_A_RECORD if name in SHARE_A_RECORD else set()) for name, knows in graph.items()})


def test_layers_know_only_layers_below_them() -> None:
    """Each room is in one layer; there are nine at most, and no circle among them."""
    assert sorted(room for layer in LAYERS for room in layer.rooms) == sorted(ROOMS)
    assert len(LAYERS) <= 9
    graph = layer_graph(ROOMS)
    place = {name: number for number, names in enumerate(rows(graph)) for name in names}
    for name, knows in graph.items():
        assert all(place[known] > place[name] for known in knows), name


def test_every_room_says_what_it_is() -> None:
    """The package holds rooms alone, each with an `__init__` that says what is in it; none is deeper than two levels
    or called by a name that says nothing."""
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}
    for path in PACKAGE.rglob("*.py"):
        assert len(path.relative_to(PACKAGE).parts) <= 4, path
        assert path.stem not in vague, path
        assert (path.parent / "__init__.py").read_text("utf-8").startswith('"""'), path.parent


def test_surfaces_do_not_know_one_another() -> None:
    """What two surfaces share stands in a room of its own, which knows none of them."""
    folder = PACKAGE / "surfaces"
    names = {path.parent.name for path in folder.glob("*/__init__.py")}
    for name in names:
        others = actual(f"surfaces/{name}", depth=2)
        assert not others & (names - SHARED_BY_SURFACES - {name}), name
