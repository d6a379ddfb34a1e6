"""Results that are kept as they come, so that a long bench can be run in pieces and goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class Kept:
    """Results by name, a line of JSON each in a file; in memory alone, if there is none. After `seconds` (0: never) no
    more are due."""

    def __init__(self, path: Path | None, seconds: float = 0) -> None:
        self._path = path
        self._end = time.monotonic() + seconds if seconds else float("inf")
        lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        self.results: dict[str, Any] = dict(map(json.loads, lines))

    def due(self, names: Iterable[str]) -> Iterator[str]:
        """Those of the names that have no result yet, while there is time."""
        for name in names:
            if name not in self.results:
                if time.monotonic() > self._end:
                    return
                yield name

    def add(self, name: str, result: Any) -> None:
        """Keep a result, which JSON can hold."""
        self.results[name] = result
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([name, result], ensure_ascii=False) + "\n")
