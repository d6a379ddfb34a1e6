"""The suite as one file that any Python runs: `python check/build.py build/antiphon-check.pyz`."""

from __future__ import annotations

import sys
import zipapp
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"


def build(target: Path) -> None:
    """Write the archive. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    zipapp.create_archive(
        SOURCE,
        target,
        interpreter="/usr/bin/env python3",
        main="antiphon_check.__main__:console",
        filter=lambda path: path.parts[0] == "antiphon_check" and path.suffix == ".py",
        compressed=True,
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]))
