"""Files that a request puts into the container where code runs: `container_upload` blocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from antiphon.surfaces.content.remote import Fetched
from antiphon.surfaces.messages.request import checks, wire

KIND = "container_upload"


def container_uploads(messages: Iterable[checks.Indexed]) -> dict[str, str]:
    """The ids of the files, each with the path of the field that first names it."""
    paths = dict[str, str]()
    for index, _, blocks in messages:
        for place, block in enumerate(blocks):
            if not isinstance(block, wire.Other) or block.type != KIND:
                continue
            if isinstance(id := block.fields.get("file_id"), str):
                paths.setdefault(id, f"messages.{index}.content.{place}.{KIND}.file_id")
    return paths


def names(ids: Iterable[str], fetched: Mapping[str, Fetched]) -> dict[str, str]:
    """What each file is called in the container; the second of a name gets its id before it."""
    taken = dict[str, str]()
    for id in ids:
        name = fetched[id].name
        taken[id] = f"{id}-{name}" if name in taken.values() else name
    return taken
