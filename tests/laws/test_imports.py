"""Import law: a room knows only the rooms that its `__init__` names, and no two rooms know each other."""

from __future__ import annotations

import pytest

from antiphon.cli.rooms import PACKAGE, actual, declared, rows

SHARE_A_RECORD = {"parsing", "constraint"}
"""The two rooms that know each other: a format's record holds its parser and its grammar."""
SHARED_BY_SURFACES = {"content", "http", "openai"}

ROOMS = declared()


@pytest.mark.parametrize("name", sorted(ROOMS))
def test_imports(name: str) -> None:
    """What a room imports of other rooms is what its docstring says that it knows, neither more nor less."""
    assert actual(name) == ROOMS[name].knows


def test_arrows_point_down() -> None:
    """A room knows only rooms in the rows below its own."""
    place = {name: at for at, names in enumerate(rows(ROOMS)) for name in names}
    for name, room in ROOMS.items():
        for other in room.knows:
            assert place[other] > place[name] or {name, other} == SHARE_A_RECORD, f"{name} knows {other}"


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
    """What two surfaces share stands in their room, not in one of them."""
    folder = PACKAGE / "surfaces"
    names = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")}
    for name in names - SHARED_BY_SURFACES:
        others = actual(f"surfaces/{name}", depth=2)
        assert not others & (names - SHARED_BY_SURFACES - {name}), name
