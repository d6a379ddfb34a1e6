"""The pages of the checks, each with what it sends to the reference server: `python -m tests.check.pages docs`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antiphon_check.exchange import Exchange
from antiphon_check.registry import LEVELS, Check, checks
from antiphon_check.server import Server, Target

from .reference import KEY, serving

_MADE = "<!-- Made by `make docs-generated` from the checks themselves; change it there. -->"
_EXCHANGES, _ITEMS, _CHARACTERS = 4, 3, 60
"""How much is shown of a check's requests, of a list, and of a string; the rest is counted."""
_WIDTH = 110
_USUAL = {"anthropic-version", "content-type", "x-api-key"}


def page(level: str) -> str:
    """The page of a level: each check with its sentence, reason, source and requests."""
    parts = [f"# Checks: {level}", _MADE, LEVELS[level]]
    for check in checks():
        if check.level == level:
            parts += _section(check)
    return "\n\n".join(parts) + "\n"


def _section(check: Check) -> list[str]:
    source = f"<{check.source}>" if check.source.startswith("http") else check.source
    return [
        f"## {check.id}",
        check.sentence,
        f"*Why:* {check.reason}",
        f"*Source:* {source}",
        "*It sends:*",
        "```text\n" + "\n".join(_shown(_sent(check))) + "\n```",
    ]


def _sent(check: Check) -> list[Exchange]:
    with serving() as url:
        server = Server(Target(url, key=KEY, salt="5ea1"), control={"problem": ""})
        check.run(server)
    # Requests that go out together are kept in the order of their threads.
    return sorted(server.exchanges, key=lambda exchange: exchange.sent) if "at_once" in check.id else server.exchanges


def _shown(exchanges: list[Exchange]) -> Iterator[str]:
    for exchange in exchanges[:_EXCHANGES]:
        yield f"{exchange.method} /{exchange.url.split('/', 3)[3]}"
        for name, value in exchange.request_headers.items():
            if name not in _USUAL or value == "wrong":
                yield f"{name}: {value.replace(KEY, '$KEY')}"
        if exchange.sent:
            yield from _body(exchange.sent)
    if len(exchanges) > _EXCHANGES:
        yield f"… and {len(exchanges) - _EXCHANGES} more"


def _body(sent: bytes) -> Iterator[str]:
    try:
        text = json.dumps(_cut(json.loads(sent)), ensure_ascii=False)
    except ValueError:
        text = re.sub(r"\s+", " ", sent.decode("utf-8", "replace"))
    while len(text) > _WIDTH:
        end = text.rfind(" ", 0, _WIDTH)
        yield text[:end] if end > 0 else text[:_WIDTH]
        text = text[end + 1 :] if end > 0 else text[_WIDTH:]
    yield text


def _cut(value: Any) -> Any:
    match value:
        case str() if len(value) > _CHARACTERS:
            return f"{value[:_CHARACTERS]}… ({len(value)} characters)"
        case list() if len(value) > _ITEMS:
            return [*map(_cut, value[:_ITEMS]), f"… and {len(value) - _ITEMS} more"]
        case list():
            return [_cut(item) for item in value]
        case dict():
            return {name: _cut(item) for name, item in value.items()}
    return value


if __name__ == "__main__":
    for level in LEVELS:
        (Path(sys.argv[1]) / "checks" / f"{level}.md").write_text(page(level), "utf-8")
