"""The checks: each is a function in a file of one of the three folders, found because it is there."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Protocol

from antiphon_check.server import Server

LEVELS = {
    "basic": "What `create` and `stream` of an SDK need.",
    "agent": "What coding assistants need: tools, long histories, the errors that they match, counts, cancelling.",
    "full": "The rest of the API: thinking, structured outputs, documents, caching, batches, files, citations, server "
    "tools, context management.",
}
"""The levels in their order, each with what belongs to it."""

API = "https://docs.anthropic.com/en/api/"
GUIDE = "https://docs.anthropic.com/en/docs/build-with-claude/"
SDK = "anthropic 2.12.0, "


class Run(Protocol):
    """What a check does: it raises Failed or Unjudged, or returns."""

    __code__: CodeType

    def __call__(self, server: Server) -> None: ...


@dataclass(frozen=True)
class Check:
    """One check. `sentence` says what must hold, `reason` who needs it, and `source` where that is written: an address
    of the public documentation, or a file of the official SDK's types. `run` raises Failed or Unjudged."""

    id: str
    sentence: str
    reason: str
    source: str
    run: Run

    @property
    def level(self) -> str:
        """The level that it belongs to."""
        return self.id.partition(".")[0]

    @property
    def page(self) -> str:
        """Where the documentation tells of it, in the repository."""
        return f"docs/checks/{self.level}.md#{self.id.replace('.', '')}"


_known: dict[str, Check] = {}


def check(id: str, sentence: str, *, reason: str, source: str) -> Callable[[Run], Run]:
    """Makes a check of a function. Raises ValueError where its id is taken or names no level."""

    def register(run: Run) -> Run:
        if id in _known or id.partition(".")[0] not in LEVELS:
            raise ValueError(f"{id}: the id is taken, or its level unknown")
        _known[id] = Check(id, sentence, reason, source, run)
        return run

    return register


@functools.cache
def checks() -> tuple[Check, ...]:
    """All checks: by level, file and place."""
    for level in LEVELS:
        folder = importlib.import_module(f"antiphon_check.{level}")
        for info in sorted(pkgutil.iter_modules(folder.__path__), key=lambda info: info.name):
            importlib.import_module(f"{folder.__name__}.{info.name}")
    levels = list(LEVELS)
    # Whoever imported a file before, the order is the same.
    return tuple(sorted(_known.values(), key=lambda check: (levels.index(check.level), *_place(check.run))))


def _place(run: Run) -> tuple[str, int]:
    return run.__module__, run.__code__.co_firstlineno
