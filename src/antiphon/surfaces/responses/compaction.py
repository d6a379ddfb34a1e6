"""Summaries that stand for an earlier part of a conversation: when a request asks for one, the item that carries it,
and what it stands for where it comes back.

A summary that was made within a response stands for all before it; one of `/responses/compact` for all but what the
user said, which comes back with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from antiphon.api.context_management import Compact, Edit
from antiphon.api.conversation import Conversation
from antiphon.api.seal import Forged, Seal
from antiphon.prompt import summary as summaries
from antiphon.surfaces.responses.request import wire
from antiphon.surfaces.responses.server_items import ItemEvents
from antiphon.surfaces.responses.tools.shapes import Fields
from antiphon.surfaces.responses.truncation import instructions

TRIGGER = "compaction_trigger"
"""The type of the item that asks for a summary, and nothing else, as the last of a request."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What an item carries sealed: the summary, and whether it stands for all before it, `whole`."""

    text: str
    whole: bool

    def sealed(self, seal: Seal) -> str:
        """As the item carries it."""
        return seal.sign(msgspec.json.encode(self).decode(), withheld=True)


def opened(sealed: str, seal: Seal) -> Summary | None:
    """What an item carried; None where it was sealed elsewhere. Raises Forged."""
    content = seal.open("", sealed)
    if not content:
        return None
    try:
        return msgspec.json.decode(content, type=Summary)
    except msgspec.DecodeError:
        raise Forged from None


class Compaction:
    """A summary as the item of a response."""

    def __init__(self, id: str, summary: str, seal: Seal) -> None:
        self.id = id
        self._sealed = Summary(text=summary, whole=True).sealed(seal)
        self.delta: tuple[str, Fields] = ("", {})

    def opening(self) -> Fields:
        """Without the summary."""
        return self._item("")

    def opened(self) -> ItemEvents:
        """That it is being written."""
        yield "response.compaction.compacting", {}

    def take(self, piece: str) -> str:
        """It comes whole."""
        return ""

    def closing(self, complete: bool) -> ItemEvents:
        """Nothing."""
        return iter(())

    def whole(self, complete: bool) -> Fields:
        """With the summary."""
        return self._item(self._sealed)

    def _item(self, sealed: str) -> Fields:
        return {"type": "compaction", "id": self.id, "encrypted_content": sealed}


def edits(
    items: Sequence[tuple[str, str, object]], entries: Sequence[wire.ContextManagement] | None, ignored: list[str]
) -> tuple[Edit, ...] | None:
    """What is to be done about a conversation of these items, and of what `context_management` says; None where neither
    says anything."""
    if items and items[-1][1] == TRIGGER:
        return (Compact(on_demand=True, pause=True),)
    if entries is None:
        return None
    ignored += [f"context_management.{each.type}" for each in entries if each.type != "compaction"]
    thresholds = [each.compact_threshold for each in entries if each.type == "compaction"]
    return (Compact(trigger=thresholds[0]),) if thresholds else ()


def resumed(conversation: Conversation, summary: str) -> Conversation:
    """The conversation with a summary in place of its turns. What the model is told before the first question stays."""
    continued = summaries.continued(conversation, summary)
    return replace(continued, turns=(*instructions(conversation), *continued.turns))
