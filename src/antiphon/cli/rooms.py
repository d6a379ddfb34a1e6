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
        *_, last = text.split("\n\n")
        if not last.startswith(_KNOWS):
            raise ValueError(f"{path.parent.name}/__init__.py: the end of its docstring is not `{_KNOWS}…`")
        names = " ".join(last.removeprefix(_KNOWS).removesuffix(".").split())
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
    groups = {name: _together(name, rooms) for name in rooms}
    heights: dict[frozenset[str], int] = {}

    def height(group: frozenset[str]) -> int:
        if group not in heights:
            below = {groups[other] for name in group for other in rooms[name].knows} - {group}
            heights[group] = 1 + max((height(other) for other in below), default=-1)
        return heights[group]

    found: dict[int, list[str]] = {}
    for name in sorted(rooms):
        found.setdefault(height(groups[name]), []).append(name)
    return [sorted(found[at], key=lambda name: (min(groups[name]), name)) for at in sorted(found, reverse=True)]


def _together(name: str, rooms: dict[str, Room]) -> frozenset[str]:
    return frozenset({name, *(other for other in rooms[name].knows if name in rooms[other].knows)})


def table() -> str:
    """The rooms as a table in Markdown, from the top row down."""
    rooms = declared()
    lines = ["| row | room | what is in it | what it knows |", "|---|---|---|---|"]
    for number, names in enumerate(rows(rooms), 1):
        for name in names:
            knows = ", ".join(f"`{other}`" for other in sorted(rooms[name].knows)) or "nothing"
            lines.append(f"| {number} | `{name}` | {rooms[name].summary} | {knows} |")
    return "\n".join(lines)


_WIDTH, _HEIGHT, _GAP, _RISE = 132, 40, 28, 92


def picture() -> str:
    """The rooms and what they know of one another, as an SVG image: an arrow points to what is known. An arrow that
    follows from two others is left out."""
    rooms = declared()
    levels = rows(rooms)
    wide = max(map(len, levels)) * (_WIDTH + _GAP) + _GAP
    places = {
        name: (wide * (index + 1) / (len(names) + 1), 30 + level * _RISE)
        for level, names in enumerate(levels)
        for index, name in enumerate(names)
    }
    arrows = [_arrow(*places[name], *places[other]) for name in rooms for other in sorted(_direct(name, rooms))]
    boxes = [
        f'<rect x="{x - _WIDTH / 2:.0f}" y="{y - _HEIGHT / 2:.0f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}">{name}</text>'
        for name, (x, y) in places.items()
    ]
    tall = 30 + (len(levels) - 1) * _RISE + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {tall}" role="img" font-family="sans-serif">\n'
        "<title>The rooms of the package and their imports</title>\n"
        "<style>rect{fill:#eef1fb;stroke:#3f51b5}text{text-anchor:middle;font-size:15px;fill:#1a237e}"
        "path{stroke:#7986cb;fill:none;marker-end:url(#head)}</style>\n"
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" style="fill:#7986cb;stroke:none"/></marker>\n'
    )
    return head + "\n".join([*arrows, *boxes]) + "\n</svg>\n"


def _direct(name: str, rooms: dict[str, Room]) -> frozenset[str]:
    """What a room knows and none of the rooms that it knows does."""
    knows = rooms[name].knows
    nearer = [near for near in knows if name not in rooms[near].knows]
    return knows - {far for near in nearer for far in _below(near, rooms) if near not in rooms[far].knows}


def _below(name: str, rooms: dict[str, Room]) -> frozenset[str]:
    seen: set[str] = set()
    waiting = list(rooms[name].knows)
    while waiting:
        if (other := waiting.pop()) not in seen:
            seen.add(other)
            waiting += rooms[other].knows
    return frozenset(seen - {name})


def _arrow(x: float, y: float, other_x: float, other_y: float) -> str:
    if y == other_y:
        side = _WIDTH / 2 if other_x > x else -_WIDTH / 2
        return f'<path d="M{x + side:.0f} {y:.0f}L{other_x - side:.0f} {other_y:.0f}"/>'
    start, end = y + _HEIGHT / 2, other_y - _HEIGHT / 2
    bend = (end - start) / 2
    curve = f"C{x:.0f} {start + bend:.0f} {other_x:.0f} {end - bend:.0f} {other_x:.0f} {end:.0f}"
    return f'<path d="M{x:.0f} {start:.0f}{curve}"/>'
