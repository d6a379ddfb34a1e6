"""The rooms of the package, as their docstrings declare them and as their imports are. The architecture pages are made
from this, and the import law is a test of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import msgspec

PACKAGE = Path(__file__).parent.parent
_KNOWS = "Knows: "


class Room(msgspec.Struct, frozen=True):
    """A folder of the package: the first sentence of its docstring, and the rooms that it says it knows."""

    summary: str
    knows: frozenset[str]


def declared() -> dict[str, Room]:
    """Every room by name. Raises ValueError where a docstring does not say what the room knows."""
    found = {}
    for path in sorted(PACKAGE.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        *_, last = text.splitlines() or [""]
        if not last.startswith(_KNOWS):
            raise ValueError(f"{path.parent.name}/__init__.py: the last line of its docstring is not `{_KNOWS}…`")
        names = last.removeprefix(_KNOWS).removesuffix(".")
        knows = frozenset() if names == "nothing" else frozenset(names.split(", "))
        found[path.parent.name] = Room(text.split("\n\n")[0].replace("\n", " "), knows)
    return found


def actual(folder: str, depth: int = 1) -> frozenset[str]:
    """The other folders that the files of this one import from: rooms for a `depth` of 1, folders of its room for 2."""
    parts = ("antiphon", *folder.split("/"))
    found = {
        name[depth]
        for path in (PACKAGE / folder).rglob("*.py")
        for name in _imports(path)
        if name[:depth] == parts[:depth] and len(name) > depth and name[depth] != parts[depth]
    }
    return frozenset(name for name in found if (PACKAGE.joinpath(*parts[1:depth]) / name).is_dir())


def _imports(path: Path) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (tuple(f"{node.module}.{alias.name}".split(".")) for alias in node.names)


def rows(rooms: dict[str, Room]) -> list[list[str]]:
    """The rooms in rows, so that each stands above all that it knows; rooms that know each other share a row."""
    heights: dict[str, int] = {}

    def height(name: str, above: tuple[str, ...] = ()) -> int:
        if name not in heights:
            below = [height(other, (*above, name)) for other in rooms[name].knows if other not in above]
            if above and above[-1] in rooms[name].knows:
                return 1 + max(below, default=-1)
            heights[name] = 1 + max(below, default=-1)
        return heights[name]

    for name in sorted(rooms):
        height(name)
    for name, room in rooms.items():
        mutual = [other for other in room.knows if name in rooms[other].knows]
        heights[name] = max([heights[name], *(heights[other] for other in mutual)])
    top = max(heights.values())
    return [[name for name in sorted(heights) if heights[name] == top - at] for at in range(top + 1)]
