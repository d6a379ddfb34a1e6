"""Style law: a file and a function are no longer than a reader can hold, and things are named by nouns."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from antiphon.cli.reference.rooms import PACKAGE

SOURCE = PACKAGE.parent
FILE_LINES = 300
FUNCTION_LINES = 45
ONE_FILE = {"antiphon/server_tools/code/inside.py"}
"""It is handed to a sandbox as one file."""

VAGUE = {"at", "made", "told", "wanted", "asked", "given", "come", "gone", "got", "took", "kept", "untold", "unwanted"}
"""Words that say what happened to a thing, not what it is; the field has a noun: index, request, delta, result, …"""
SHORT_LIVED = 3
ON_DISK = {("batches/previous.py", "at"), ("trajectories/sample.py", "at")}
"""Fields that have these names in files that were written already."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def _modules() -> dict[str, tuple[int, ast.Module]]:
    """Each file of the source, by its path there: its lines, and its tree."""
    texts = {path.relative_to(SOURCE).as_posix(): path.read_text("utf-8") for path in SOURCE.rglob("*.py")}
    return {name: (text.count("\n"), ast.parse(text)) for name, text in texts.items()}


def _functions() -> Iterator[tuple[str, Function]]:
    """Each function of the source, with the name of its file."""
    for name, (_, tree) in _modules().items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, Function))


def test_files_are_short() -> None:
    """No file has more than 300 lines, but for the one that says why."""
    assert {name for name, (lines, _) in _modules().items() if lines > FILE_LINES} == ONE_FILE


def test_functions_are_short() -> None:
    """No function has more than 45 lines, its signature and docstring counted."""
    lengths = {f"{file}:{node.lineno} {node.name}": _lines(node) for file, node in _functions()}
    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}


def test_names_are_nouns() -> None:
    """No function, attribute or field, and no local name that is used over more than three lines, is one of the words
    that say nothing."""
    names = {(file.removeprefix("antiphon/"), name) for file, name in _long_lived() if name.strip("_") in VAGUE}
    assert names == ON_DISK


def _long_lived() -> Iterator[tuple[str, str]]:
    """Each name of the source that is read far from where it is given, with its file."""
    for file, (_, tree) in _modules().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield file, node.name
                yield from ((file, name) for name, lines in _locals(node).items() if lines > SHORT_LIVED)
            elif isinstance(node, ast.ClassDef):
                yield from ((file, name) for name in _bound(node.body))
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield file, node.attr
        yield from ((file, name) for name in _bound(tree.body))


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    """The names that a class or a module gives itself."""
    for statement in body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


def _locals(function: Function) -> dict[str, int]:
    """Over how many lines each parameter and local name of a function is used."""
    places: dict[str, list[int]] = {}
    stored = set()
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            places.setdefault(node.arg, []).append(node.lineno)
            stored.add(node.arg)
        elif isinstance(node, ast.Name):
            places.setdefault(node.id, []).append(node.lineno)
            if isinstance(node.ctx, ast.Store):
                stored.add(node.id)
    return {name: max(places[name]) - min(places[name]) + 1 for name in stored}


def _lines(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
