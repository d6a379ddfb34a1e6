"""Import law: rooms know only the rooms below them."""

from __future__ import annotations

import ast
from pathlib import Path

import antiphon

PACKAGE = Path(antiphon.__file__).parent

# A room may import from rooms of a lower level, and from itself. `constraint` and `parsing` share a format's record.
LEVELS = [
    {"errors", "conversation", "events", "request_log", "keys", "aside", "message_batches"},
    {"prompt", "constraint", "parsing", "engines"},
    {"model", "generation", "telemetry", "limits", "recognition"},
    {"admission", "catalogue", "token_model", "chat_model", "tracing"},
    {"service"},
    {"surfaces"},
]
SHARED = {("parsing", "constraint"), ("constraint", "parsing")}
OUTSIDE_SURFACES = {"app", "config"}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def level(name: str) -> int:
    return next((index for index, rooms in enumerate(LEVELS) if name in rooms), len(LEVELS))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update(
                f"{node.module}.{alias.name}" if node.module == "antiphon" else node.module for alias in node.names
            )
    return {name for name in found if name.startswith("antiphon.")}


def test_imports():
    """Every import points to the importing file's own room or to one on a lower level."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        mine = relative.parts[0].removesuffix(".py")
        for name in imports(path):
            theirs = room(name)
            fits = mine == theirs or level(theirs) < level(mine) or (mine, theirs) in SHARED
            if level(mine) < len(LEVELS) and theirs != "__version__" and not fits:
                wrong.append(f"{relative} imports {name}")
    assert not wrong


def test_no_vague_names():
    """No room is called by a name that says nothing."""
    vague = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert not [path for path in PACKAGE.rglob("*") if path.stem in vague]


def test_surfaces_do_not_know_one_another() -> None:
    """What two surfaces share stands in their room, not in one of them."""
    folder = PACKAGE / "surfaces"
    names = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")}
    for name in names:
        for path in (folder / name).glob("*.py"):
            others = {f"antiphon.surfaces.{other}" for other in names - {name}}
            assert not [found for found in imports(path) for other in others if found.startswith(other)], path
