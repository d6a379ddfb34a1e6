"""Hashes of conversations as a client sees them: what a prompt begins with, and each number of its turns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from antiphon.api.conversation import Conversation, Image, Part, Text, Thinking, ToolResult, ToolUse, Turn


class Beginning(msgspec.Struct, frozen=True):
    """Hashes of what a prompt begins with: the system prompt, the tools, the template's switches."""

    system: bytes
    tools: bytes
    switches: bytes

    @property
    def key(self) -> bytes:
        """All of it."""
        return self.system + self.tools + self.switches


def beginning(conversation: Conversation, switches: dict[str, Any]) -> Beginning:
    """What the prompt of a conversation begins with."""
    tools = [(tool.name, tool.description, tool.schema) for tool in conversation.first_tools]
    parts = (conversation.system, tools, switches)
    return Beginning(*(hashed(b"", msgspec.json.encode(part)) for part in parts))


def chained(turns: Sequence[Turn], before: Sequence[bytes] = (b"",)) -> list[bytes]:
    """A hash for each number of turns, beginning with none; of these turns, or of what `before` stands for and
    these."""
    chain = list(before)
    for turn in turns:
        chain.append(hashed(chain[-1], _visible(turn)))
    return chain


def hashed(before: bytes, more: bytes) -> bytes:
    """A hash of 16 bytes of something, and of what comes before it."""
    return hashlib.blake2b(before + more, digest_size=16).digest()


def _visible(turn: Turn) -> bytes:
    """A turn as a client sees it and gives it back."""
    text = "".join(part.text for part in turn.parts if isinstance(part, Text)).strip()
    others = [_part(part) for part in turn.parts if not isinstance(part, Text | Thinking)]
    return json.dumps([turn.role, text, *others], sort_keys=True).encode()


def _part(part: Part) -> Any:
    match part:
        case ToolUse():
            return [part.name, msgspec.json.decode(part.input)]
        case ToolResult():
            text = "".join(inner.text for inner in part.parts if isinstance(inner, Text))
            return [part.is_error, text, *(_part(inner) for inner in part.parts if isinstance(inner, Image))]
        case Image():
            return hashlib.blake2b(part.data, digest_size=16).hexdigest()
        case _:
            return None
