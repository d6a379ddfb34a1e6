"""Write the pages into the folder that is named."""

from __future__ import annotations

import sys
from pathlib import Path

from antiphon.cli.reference.pages import PAGES

for name, page in PAGES.items():
    (Path(sys.argv[1]) / name).write_text(page(), "utf-8")
