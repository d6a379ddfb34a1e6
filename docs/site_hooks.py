"""What `mkdocs.yml` loads: files of the repository that a page links to become pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_OUTSIDE = re.compile(r"\]\(\.\./([\w./-]+)\)")
_LANGUAGES = {".py": "python", ".mjs": "javascript", ".toml": "toml", ".json": "json", ".yaml": "yaml"}


def _targets(text: str) -> set[str]:
    return set(_OUTSIDE.findall(text))


def _named(nav: Any) -> set[str]:
    """Every page that a navigation names."""
    if isinstance(nav, str):
        return {nav}
    return {page for each in (nav.values() if isinstance(nav, dict) else nav) for page in _named(each)}


def on_config(config: Any) -> Any:
    """Put pages that the navigation does not name at its end, so that none is lost."""
    pages = {page.name for page in Path(config.docs_dir).glob("*.md")}
    if more := sorted(pages - _named(config.nav)):
        config.nav.append({"More": more})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file outside of docs/ that a page there links to."""
    pages = [file for file in files if file.src_uri.endswith(".md") and file.abs_src_path]
    wanted = sorted({each for page in pages for each in _targets(Path(page.abs_src_path or "").read_text("utf-8"))})
    for path in wanted:
        source = ROOT / path
        text = source.read_text("utf-8")
        if source.suffix != ".md":
            # One more backtick than any fence in the file.
            fence = "`````"
            head = f"---\ntitle: {source.name}\n---\n# `{path}`\n\n"
            text = f"{head}{fence}{_LANGUAGES.get(source.suffix, 'text')}\n{text}\n{fence}\n"
        files.append(File.generated(config, f"source/{path}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **rest: Any) -> str:
    """Point at these pages."""
    return _OUTSIDE.sub(r"](source/\1.md)", markdown)
