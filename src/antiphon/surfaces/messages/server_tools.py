"""The answer to a request that only a server tool could serve: the tool is called and tells that it is unavailable.

Such a request must never end in a call of a client tool, and a model asked to search would make up what it found.
"""

from __future__ import annotations

import re
from typing import Any

from antiphon.api.events import Finished, Usage
from antiphon.surfaces.messages import encode

_QUERY = re.compile(r"Perform a web search for the query:\s*(.+)")
_FAMILIES = ("web_search", "web_fetch", "code_execution", "tool_search_tool", "advisor")


class Unavailable:
    """A scripted message: the call, its error, and a sentence for the model that asked."""

    def __init__(self, style: encode.Style, tool: tuple[str, str], text: str, call_id: str, usage: Usage) -> None:
        name, kind = tool
        family = next((each for each in _FAMILIES if kind.startswith(each)), "web_search")
        result = f"{family}_tool_result" if family != "tool_search_tool" else "tool_search_tool_result"
        query = _QUERY.search(text)
        caller = {"type": "direct"}
        self._style, self._usage = style, usage
        error = {"type": f"{result}_error", "error_code": "unavailable"}
        self._blocks: list[dict[str, Any]] = [
            {
                "type": "server_tool_use",
                "id": call_id,
                "name": name,
                "input": {"query": (query[1] if query else text).strip()[:1000]} if family == "web_search" else {},
                "caller": caller,
            },
            {"type": result, "tool_use_id": call_id, "caller": caller, "content": error},
            {"type": "text", "text": f"{name} is not available on this server."},
        ]

    def whole(self) -> bytes:
        """The message, unstreamed."""
        return encode.whole_of(self._style, self._blocks, Finished("end_turn", self._usage))

    def frames(self) -> bytes:
        """All frames."""
        frames = [encode.Encoder(self._style).start(self._usage)]
        for index, block in enumerate(self._blocks):
            frames += _frames(index, block)
        frames.append(encode.ending(self._style, Finished("end_turn", self._usage)))
        return b"".join(frames)


def _frames(index: int, block: dict[str, Any]) -> list[bytes]:
    empty, deltas = dict(block), []
    if block["type"] == "server_tool_use":
        empty["input"] = {}
        deltas = [{"type": "input_json_delta", "partial_json": encode.text_of(block["input"])}]
    elif block["type"] == "text":
        empty["text"] = ""
        deltas = [{"type": "text_delta", "text": block["text"]}]
    at = {"index": index}
    return [
        encode.frame("content_block_start", {"type": "content_block_start", **at, "content_block": empty}),
        *([encode.PING] if index == 0 else []),
        *(encode.frame("content_block_delta", {"type": "content_block_delta", **at, "delta": each}) for each in deltas),
        encode.frame("content_block_stop", {"type": "content_block_stop", **at}),
    ]
