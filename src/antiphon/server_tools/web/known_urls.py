"""Which addresses stand in a conversation, and by whose word: `url_sources` of web fetch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from antiphon.api.conversation import Conversation, Text, ToolResult, ToolUse
from antiphon.api.errors import BadRequest

_BEFORE = r"(?<![\w.@-])"
_BEHIND = r"(?![\w/~%&=?@+-]|[.:,;!][\w/])"
"""An address ends where nothing goes on with it."""
_SERVER = "srvtoolu_"
_CONTRIBUTING = ("web_search", "web_fetch")


class Tools(msgspec.Struct, frozen=True):
    """The results of which tools count: all `but` those named, or `only` those."""

    kind: str = "all"
    names: frozenset[str] = frozenset()

    def count(self, name: str) -> bool:
        """Whether this tool's results do."""
        if self.kind in ("only", "except"):
            return (name in self.names) == (self.kind == "only")
        return self.kind == "all"


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """By whose word an address may be fetched: the user's, that of client tools, that of server tools."""

    user_input: Tools = Tools()
    client_tool_results: Tools = Tools()
    server_tool_results: Tools = Tools()

    @classmethod
    def of(cls, settings: Mapping[str, Any], where: str) -> Sources:
        """As a declaration has them; what it leaves out counts."""
        sources = settings.get("url_sources") or {}
        if not isinstance(sources, Mapping):
            raise BadRequest(f"{where}.url_sources: Input should be a valid dictionary")
        kinds = {
            key: _tools(sources[key], f"{where}.url_sources.{key}") for key in cls.__struct_fields__ if key in sources
        }
        return cls(**kinds)


def _tools(source: Any, where: str) -> Tools:
    kind = source.get("type") if isinstance(source, Mapping) else None
    if kind not in ("all", "none", "only", "except"):
        raise BadRequest(f"{where}.type: Input should be 'all', 'none', 'only' or 'except'")
    named = source.get("tools") or ()
    return Tools(kind, frozenset(str(each.get("name")) for each in named if isinstance(each, Mapping)))


def known(url: str, conversation: Conversation, sources: Sources) -> bool:
    """Whether an address stands in the conversation by somebody's word that counts; the model's never does. Scheme,
    fragment and a slash at the end make no difference."""
    parts = urlsplit(url)
    rest = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    whole = re.compile(_BEFORE + f"(?i:{re.escape(parts.netloc)}){re.escape(rest)}/?{_BEHIND}")
    return any(whole.search(text) for text in _texts(conversation, sources))


def _texts(conversation: Conversation, sources: Sources) -> Iterator[str]:
    names: dict[str, str] = {}
    for turn in conversation.turns:
        for part in turn.parts:
            if isinstance(part, ToolUse):
                names[part.id] = part.name
            elif isinstance(part, ToolResult) and _counts(part.tool_use_id, names, sources):
                yield from (inner.text for inner in part.parts if isinstance(inner, Text))
            elif isinstance(part, Text) and turn.role == "user" and sources.user_input.count(""):
                yield part.text


def _counts(id: str, names: Mapping[str, str], sources: Sources) -> bool:
    name = names.get(id, "")
    if id.startswith(_SERVER):
        return name in _CONTRIBUTING and sources.server_tool_results.count(name)
    # What a server of the connector says is nobody's word.
    return not id.startswith("mcptoolu_") and sources.client_tool_results.count(name)
