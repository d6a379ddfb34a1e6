"""Recorded outputs: what models write, and the message each means. One JSON file each, in a folder for each format.

A record has `raw`, perhaps `tools` (in the API's shape), `prompt_tail`, `reasoning` (a marking other than the format's
own), `note`; and `content` and `stop_reason` as they must come out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from antiphon.api.reply import Reply, TextBlock, ThinkingBlock, parsed_input
from antiphon.parsing.formats import format_named, reasoning_named
from antiphon.parsing.outcome import outcome

FOLDER = Path(__file__).parent


def records() -> list[tuple[str, dict[str, Any]]]:
    """Every record with its name, `format/case`."""
    found = sorted(FOLDER.glob("*/*.json"))
    return [(f"{path.parent.name}/{path.stem}", json.loads(path.read_text("utf-8"))) for path in found]


def reply(name: str, record: dict[str, Any], pieces: Sequence[str], **options: Any) -> Reply:
    """The reply that these pieces of a record's output amount to."""
    format = format_named(name.split("/")[0])
    numbers = count()
    return outcome(
        pieces,
        format,
        reasoning_named(record.get("reasoning", format.reasoning)),
        {tool["name"]: tool["input_schema"] for tool in record.get("tools", ())},
        new_id=lambda: f"toolu_{next(numbers)}",
        prompt_tail=record.get("prompt_tail", ""),
        **options,
    )


def content(reply: Reply) -> list[dict[str, Any]]:
    """A reply's blocks as a record writes them."""
    written: list[dict[str, Any]] = []
    for block in reply.blocks:
        if isinstance(block, TextBlock):
            written.append({"type": "text", "text": block.text})
        elif isinstance(block, ThinkingBlock):
            written.append({"type": "thinking", "thinking": block.text})
        else:
            written.append({"type": "tool_use", "name": block.name, "input": parsed_input(block)})
    return written


def cut(text: str, places: Iterable[int]) -> list[str]:
    """The text cut at these places."""
    ends = [0, *sorted(places), len(text)]
    return [text[start:end] for start, end in pairwise(ends)]
