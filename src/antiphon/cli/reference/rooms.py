"""The rooms of the package, as their docstrings declare them and as their imports are, and the layers that they make.
The architecture pages are made from this, and the import law is a test of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

PACKAGE = Path(__file__).parents[2]
_KNOWS = "Knows: "

Graph = Mapping[str, frozenset[str]]
"""For each name the names of what it knows."""


class Room(msgspec.Struct, frozen=True):
    """A folder of the package: the first sentence of its docstring, and the rooms that it says it knows."""

    summary: str
    knows: frozenset[str]


class Layer(msgspec.Struct, frozen=True):
    """Rooms that a newcomer may take for one, and what they do together. The way of a request is `on_path` or not."""

    name: str
    summary: str
    rooms: tuple[str, ...]
    on_path: bool = False


LAYERS = (
    Layer("processes", "start and watch all the rest", ("cli", "process", "ray")),
    Layer("surfaces", "HTTP, one folder for each API", ("surfaces",), on_path=True),
    Layer("server tools", "tools that run here", ("server_tools",)),
    Layer("serving", "the path of a request", ("serving",), on_path=True),
    Layer("prompt", "a conversation → token ids", ("prompt",), on_path=True),
    Layer("output", "tools → a grammar, text → events", ("constraint", "parsing"), on_path=True),
    Layer("engines", "token ids → token ids", ("engines",), on_path=True),
    Layer("state", "what is kept on disk", ("accounts", "batches", "storage", "trajectories")),
    Layer("core", "what all the others speak", ("api", "observability", "settings"), on_path=True),
)


def declared() -> dict[str, Room]:
    """Every room by name. Raises ValueError where a docstring does not say what the room knows."""
    rooms = {}
    for path in sorted(PACKAGE.glob("*/__init__.py")):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        *_, last = text.split("\n\n")
        if not last.startswith(_KNOWS):
            raise ValueError(f"{path.parent.name}/__init__.py: the end of its docstring is not `{_KNOWS}…`")
        names = " ".join(last.removeprefix(_KNOWS).removesuffix(".").split())
        knows = frozenset() if names == "nothing" else frozenset(names.split(", "))
        rooms[path.parent.name] = Room(text.split("\n\n")[0].replace("\n", " "), knows)
    return rooms


def actual(folder: str, depth: int = 1) -> frozenset[str]:
    """The other folders that the files of this one import from: rooms for a `depth` of 1, folders of its room for 2."""
    parts = ("antiphon", *folder.split("/"))
    modules = {
        name[depth]
        for path in (PACKAGE / folder).rglob("*.py")
        for name in _imports(path)
        if name[:depth] == parts[:depth] and len(name) > depth and name[depth] != parts[depth]
    }
    return frozenset(name for name in modules if (PACKAGE.joinpath(*parts[1:depth]) / name).is_dir())


def _imports(path: Path) -> Iterator[tuple[str, ...]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (tuple(f"{node.module}.{alias.name}".split(".")) for alias in node.names)


def layer_graph(rooms: Mapping[str, Room]) -> dict[str, frozenset[str]]:
    """What each layer knows, which is what its rooms know of other layers."""
    layer_of = {room: layer.name for layer in LAYERS for room in layer.rooms}
    return {
        layer.name: frozenset(layer_of[known] for room in layer.rooms for known in rooms[room].knows) - {layer.name}
        for layer in LAYERS
    }


def rows(graph: Graph) -> list[list[str]]:
    """The names in rows, so that each stands above all that it knows. Raises ValueError where there is a circle."""
    heights: dict[str, int] = {}

    def height(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            raise ValueError(f"a circle: {' → '.join((*above, name))}")
        if name not in heights:
            heights[name] = 1 + max((height(known, (*above, name)) for known in sorted(graph[name])), default=-1)
        return heights[name]

    levels: dict[int, list[str]] = {}
    for name in graph:
        levels.setdefault(height(name), []).append(name)
    return [levels[level] for level in sorted(levels, reverse=True)]


def direct(name: str, graph: Graph) -> frozenset[str]:
    """What a name knows and nothing else that it knows does."""
    return graph[name] - {far for near in graph[name] for far in _below(near, graph)}


def _below(name: str, graph: Graph) -> frozenset[str]:
    return frozenset(known for near in graph[name] for known in {near, *_below(near, graph)})


def table() -> str:
    """The layers and their rooms as a table in Markdown, from the top row down."""
    rooms = declared()
    graph = layer_graph(rooms)
    by_name = {layer.name: layer for layer in LAYERS}
    lines = ["| row | layer | its rooms | what it knows |", "|---|---|---|---|"]
    for number, names in enumerate(rows(graph), 1):
        for name in names:
            layer = by_name[name]
            inside = "<br>".join(f"`{room}`: {rooms[room].summary}" for room in layer.rooms)
            knows = ", ".join(other.name for other in LAYERS if other.name in graph[name]) or "nothing"
            lines.append(f"| {number} | **{name}**: {layer.summary} | {inside} | {knows} |")
    return "\n".join(lines)
