"""Calls of MCP servers that the client approves before they are run, and the items that tell of such servers.

A call that needs approval ends the response, as `mcp_approval_request`. It is run when a later request approves it: its
result is the first item of the response to that, and stands in the prompt where it was approved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon.api.errors import BadRequest
from antiphon.api.reply import ToolBlock
from antiphon.server_tools.tool import Declared
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.openai.functions import arguments
from antiphon.surfaces.responses.request import input_items
from antiphon.surfaces.responses.server_items import ItemEvents
from antiphon.surfaces.responses.tools.shapes import AsWritten, Fields, Reader

REQUEST_ID = "mcpr_"
_CALL_ID = "toolu_"


class ToolNames(msgspec.Struct):
    """Some tools of a server: those with these names, those that only read, or those of which both is true."""

    tool_names: list[str] | None = None
    read_only: bool | None = None

    def takes(self, declared: Declared) -> bool:
        """Whether a tool is one of them."""
        named = self.tool_names is None or str(declared.use["name"]) in self.tool_names
        return named and self.read_only in (None, declared.read_only)


class Filters(msgspec.Struct):
    """`require_approval` where it is not a word."""

    always: ToolNames | None = None
    never: ToolNames | None = None


def needs_approval(required: Any, declared: Declared, where: str) -> bool:
    """Whether `require_approval` of a server has the client approve calls of a tool. Raises BadRequest."""
    if required in (None, "always", "never"):
        return bool(required != "never")
    try:
        filters = msgspec.convert(required, Filters)
    except msgspec.ValidationError:
        raise BadRequest(
            f"{where}.require_approval: Input should be 'always', 'never' or an object of these with tool_names"
        ) from None
    if filters.never is not None and filters.never.takes(declared):
        return False
    return filters.always is None or filters.always.takes(declared)


def call_id(request_id: str) -> str:
    """The id of the model's call that a request for approval is about."""
    return _CALL_ID + request_id.removeprefix(REQUEST_ID)


class Guarded(msgspec.Struct, frozen=True):
    """How calls of a tool look that need approval. They come whole."""

    server: str
    name: str
    type = "mcp_approval_request"
    prefix = REQUEST_ID
    told_as = ("", "")

    def opening(self) -> Fields:
        """Without arguments."""
        return {"server_label": self.server, "name": self.name, "arguments": ""}

    def reader(self) -> Reader:
        """Nothing is told of a piece."""
        return AsWritten()

    def whole(self, input: str) -> Fields:
        """With the arguments."""
        return {**self.opening(), "arguments": msgspec.Raw(text_json(input))}


class ApprovalRequest:
    """A call that waits for approval, as an item that is open."""

    def __init__(self, call: str, shape: Guarded) -> None:
        self.id = REQUEST_ID + call.removeprefix(_CALL_ID)
        self._shape = shape
        self._input: list[str] = []
        self.delta: tuple[str, Fields] = ("", {})

    def opening(self) -> Fields:
        """Without arguments."""
        return self._item(self._shape.opening())

    def opened(self) -> ItemEvents:
        """Nothing."""
        return iter(())

    def take(self, piece: str) -> str:
        """Nothing is told before it is whole."""
        self._input.append(piece)
        return ""

    def closing(self, complete: bool) -> ItemEvents:
        """Nothing."""
        return iter(())

    def whole(self, complete: bool) -> Fields:
        """With its arguments."""
        return self._item(self._shape.whole("".join(self._input) or "{}"))

    def _item(self, fields: Fields) -> Fields:
        return {"type": self._shape.type, "id": self.id, **fields}


class ToolList:
    """What an MCP server has, as an item that is told once in a conversation."""

    def __init__(self, id: str, server: str, tools: Sequence[Declared]) -> None:
        self.id = id
        self._server = server
        self._tools = tools
        self.delta: tuple[str, Fields] = ("", {})

    def opening(self) -> Fields:
        """Without tools."""
        return self._item([])

    def opened(self) -> ItemEvents:
        """That the server is asked."""
        yield "response.mcp_list_tools.in_progress", {}

    def take(self, piece: str) -> str:
        """There are no pieces."""
        return ""

    def closing(self, complete: bool) -> ItemEvents:
        """That it answered."""
        yield "response.mcp_list_tools.completed", {}

    def whole(self, complete: bool) -> Fields:
        """With all tools."""
        return self._item([_listed(each) for each in self._tools])

    def _item(self, tools: list[Fields]) -> Fields:
        return {"type": "mcp_list_tools", "id": self.id, "server_label": self._server, "tools": tools}


def _listed(declared: Declared) -> Fields:
    return {
        "name": declared.use["name"],
        "description": declared.tool.description,
        "input_schema": declared.tool.schema,
        "annotations": {"readOnlyHint": declared.read_only},
    }


def is_read_only(listed: Mapping[str, Any]) -> bool:
    """Whether a tool of such a list says to change nothing."""
    annotations = listed.get("annotations")
    return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True


def awaited(items: Sequence[tuple[str, str, input_items.AnyItem]]) -> list[input_items.ApprovalRequest]:
    """The calls that a conversation approves, and that were not run yet: nothing was said after the approval."""
    requests: dict[str, input_items.ApprovalRequest] = {}
    pending: dict[str, input_items.ApprovalRequest] = {}
    for _, _, item in items:
        if isinstance(item, input_items.ApprovalRequest):
            requests[item.id] = item
        if isinstance(item, input_items.ApprovalResponse) and item.approve and item.approval_request_id in requests:
            pending[item.approval_request_id] = requests[item.approval_request_id]
        elif input_items.is_said(item):
            pending.clear()
    return list(pending.values())


def block_of(request: input_items.ApprovalRequest, name: str) -> ToolBlock:
    """The model's call behind a request for approval, of a tool that it knows by this name."""
    return ToolBlock(call_id(request.id), name, arguments(msgspec.json.encode(request.arguments)))
