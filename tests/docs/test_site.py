"""The pages as a site: complete, and from nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import DOCS

ROOT = DOCS.parent
# Where a browser fetches something by itself. Links that a reader follows may lead anywhere.
_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*\shref=["']?https?://"""
)
_FETCHED_BY_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")


def test_the_site_is_whole_and_needs_no_other_host(tmp_path: Path) -> None:
    """It is built without a warning: no dead link, no missing page; and nothing in it is fetched from elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    pages = list(tmp_path.rglob("*.html"))
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} <= {page.name for page in pages}
    for page in pages:
        assert not _FETCHED.search(page.read_text("utf-8")), page
    for sheet in tmp_path.rglob("*.css"):
        assert not _FETCHED_BY_STYLE.search(sheet.read_text("utf-8")), sheet
