"""Style law: a file and a function are no longer than a reader can hold."""

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


def _lines(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
