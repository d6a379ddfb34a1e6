"""The items of `input` as typed structs, read one by one. An item of an unknown type is kept as it came."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.json_body import Name
from antiphon.surfaces.http.validation import complaint, malformed

Written = Raw | UnsetType
"""JSON as the client wrote it."""
ROLES = ["system", "developer", "user", "assistant"]


class Part(msgspec.Struct):
    """One part of a content that is a list; which of the fields counts is said by `type`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    annotations: list[dict[str, Any]] | None = None


Content = str | list[Part] | None


class Message(msgspec.Struct):
    """A message of any role."""

    role: Annotated[str, Meta(extra_json_schema={"enum": ROLES})]
    content: Content = None


class Reasoning(msgspec.Struct):
    """Thinking of an earlier turn, sent back."""

    summary: list[Part] | None = None
    content: list[Part] | None = None
    encrypted_content: str | None = None


class Call(msgspec.Struct):
    """A call of a tool in an earlier turn, sent back. Which of the fields has its input is said by the type."""

    call_id: str | None = None
    id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Written = UNSET
    input: str | None = None
    action: Written = UNSET
    actions: Written = UNSET
    operation: Written = UNSET
    execution: str | None = None
    encrypted_content: str | None = None


class Output(msgspec.Struct):
    """What the client's tool answered."""

    call_id: str | None = None
    id: str | None = None
    output: Written = UNSET
    status: str | None = None
    tools: list[Raw] | None = None
    execution: str | None = None


class Tools(msgspec.Struct):
    """Tools that may be called from there on."""

    tools: list[Raw]


class ServerCall(msgspec.Struct):
    """A call of a tool that ran on a server, perhaps after it was approved."""

    encrypted_content: str | None = None
    approval_request_id: str | None = None


class ToolList(msgspec.Struct):
    """The tools of an MCP server, as they were told before."""

    server_label: str
    tools: list[dict[str, Any]] | None = None
    error: Written = UNSET


class ApprovalRequest(msgspec.Struct):
    """A call of an MCP server that waits for approval."""

    id: Name
    server_label: str
    name: str
    arguments: str = ""


class ApprovalResponse(msgspec.Struct):
    """Whether such a call may be run."""

    approval_request_id: Name
    approve: bool
    reason: str | None = None


class Compaction(msgspec.Struct):
    """What stands for an earlier part of the conversation."""

    encrypted_content: str | None = None


class Reference(msgspec.Struct):
    """An item that is kept here, by its id."""

    id: Name


class Other(msgspec.Struct):
    """An item of any other type: its name and all its fields."""

    type: str
    fields: dict[str, Any]


AnyItem = (
    Message
    | Reasoning
    | Call
    | Output
    | Tools
    | ServerCall
    | ToolList
    | ApprovalRequest
    | ApprovalResponse
    | Compaction
    | Reference
    | Other
)

Placed = tuple[str, str, AnyItem]
"""An item: its dotted path, its type, and itself."""


class _Typed(msgspec.Struct):
    type: str | None = None
    role: str | None = None
    id: Any = None

    @property
    def kind(self) -> str:
        """Its type; a message need not tell it, and neither need a reference, which has an id alone."""
        return self.type or ("message" if self.role is not None else "item_reference" if self.id else "")


_typed = msgspec.json.Decoder(_Typed)
_anything = msgspec.json.Decoder()
CALLS = (
    "function_call",
    "custom_tool_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "computer_call",
    "tool_search_call",
)
OUTPUTS = (
    "function_call_output",
    "custom_tool_call_output",
    "local_shell_call_output",
    "shell_call_output",
    "apply_patch_call_output",
    "computer_call_output",
    "tool_search_output",
)
SERVER_CALLS = ("web_search_call", "mcp_call", "code_interpreter_call", "file_search_call", "image_generation_call")
_DECODERS: dict[str, msgspec.json.Decoder[AnyItem]] = {
    "message": msgspec.json.Decoder(Message),
    "reasoning": msgspec.json.Decoder(Reasoning),
    "mcp_list_tools": msgspec.json.Decoder(ToolList),
    "mcp_approval_request": msgspec.json.Decoder(ApprovalRequest),
    "mcp_approval_response": msgspec.json.Decoder(ApprovalResponse),
    "compaction": msgspec.json.Decoder(Compaction),
    "item_reference": msgspec.json.Decoder(Reference),
    "additional_tools": msgspec.json.Decoder(Tools),
    **dict.fromkeys(SERVER_CALLS, msgspec.json.Decoder(ServerCall)),
    **dict.fromkeys(CALLS, msgspec.json.Decoder(Call)),
    **dict.fromkeys(OUTPUTS, msgspec.json.Decoder(Output)),
}


def item(raw: Raw, where: str) -> tuple[str, AnyItem]:
    """An item and its type; `where` is its dotted path, for what is wrong with it."""
    try:
        kind = _typed.decode(raw).kind
        if not kind:
            raise BadRequest(f"{where}.type: Field required")
        decoder = _DECODERS.get(kind)
        return kind, decoder.decode(raw) if decoder else Other(kind, _anything.decode(raw))
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), where)) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None


def placed(input: str | list[msgspec.Raw] | None) -> list[Placed]:
    """The items of `input`."""
    if isinstance(input, str):
        return [("input", "message", Message(role="user", content=input))]
    return placed_in("input", input or [])


def placed_in(name: str, raws: list[msgspec.Raw]) -> list[Placed]:
    """The items of a list that is told of by this name."""
    return [(f"{name}.{index}", *item(raw, f"{name}.{index}")) for index, raw in enumerate(raws)]


def is_said(item: AnyItem) -> bool:
    """Whether the model said it."""
    if isinstance(item, Message):
        return item.role == "assistant"
    return isinstance(item, Reasoning | Call | ServerCall | ApprovalRequest)
