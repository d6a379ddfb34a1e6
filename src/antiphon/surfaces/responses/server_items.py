"""Calls of tools that run here, as items: searches, pages, MCP servers, code, searches for tools.

Between the model's rounds such calls and their results are told as blocks (`server_tools/tool.py`). An item shows of
them what the API has room for, and carries the rest sealed, so that the conversation that comes back has what the model
saw, in the rounds that it was said in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from antiphon.api.seal import Forged, Seal
from antiphon.server_tools.result import error_code, references, words
from antiphon.surfaces.http.json_text import text_json
from antiphon.surfaces.responses import items
from antiphon.surfaces.responses.tools.shapes import Fields

ItemEvents = Iterator[tuple[str, Fields]]
SEALED = "encrypted_content"


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How calls of one kind stand in items: the item's type and the beginning of its id; what is said of it at once,
    when its input is known and when it has ended; the event that tells its input, with the member that has it; and the
    further fields, of the call's block, its input and its result (none, as long as there is none)."""

    type: str
    prefix: str
    begun: tuple[str, ...] = ()
    input_done: tuple[str, ...] = ()
    ended: tuple[str, ...] = ("completed",)
    told_as: tuple[str, str] = ("", "")
    fields: Callable[[Fields, Fields, Fields | None], Fields]


class SealedCall(msgspec.Struct, frozen=True, kw_only=True):
    """What an item carries sealed: the call as the model made it, its result's block, the number of the round it was
    made in, and the ids of the calls of the client's tools in that round."""

    name: str
    input: str
    result: Fields
    round: int
    beside: list[str] = []


class ServerCall:
    """A call that is on its way. `name` is what the model knows the tool by."""

    def __init__(self, new_id: Callable[[str], str], block: Mapping[str, Any], name: str, round: int) -> None:
        self.shape = _shape(block)
        self.id = new_id(self.shape.prefix)
        self._block = dict(block)
        self._name = name
        self._round = round
        self._input: list[str] = []
        self._result: Fields | None = None
        self._beside: list[str] = []
        self.delta: tuple[str, Fields] = ("", {})

    def opening(self) -> Fields:
        """As the call begins: its input is not known."""
        _, member = self.shape.told_as
        return {**self._item("in_progress"), **({member: ""} if member else {})}

    def opened(self) -> ItemEvents:
        """That it has begun."""
        for stage in self.shape.begun:
            yield f"response.{self.shape.type}.{stage}", {}

    def take(self, piece: str) -> str:
        """Nothing is told before the input is whole."""
        self._input.append(piece)
        return ""

    def input_done(self) -> ItemEvents:
        """That the input is known, and what it is."""
        event, member = self.shape.told_as
        if event:
            text = self._item("in_progress")[member]
            if text != "":
                yield f"response.{event}.delta", {"delta": text}
            yield f"response.{event}.done", {member: text}
        for stage in self.shape.input_done:
            yield f"response.{self.shape.type}.{stage}", {}

    def answer(self, result: Mapping[str, Any], beside: list[str]) -> None:
        """Take the result in, and which calls of the client's tools were made in the same round."""
        self._result, self._beside = dict(result), beside

    def closing(self, complete: bool) -> ItemEvents:
        """How it ended."""
        if self.shape.ended and self._result is not None:
            yield f"response.{self.shape.type}.{self.shape.ended[-1 if self._failed else 0]}", {}

    def whole(self, complete: bool) -> Fields:
        """With its result, and sealed what else there is to it."""
        return self._item("failed" if self._failed else "completed" if self._result is not None else "incomplete")

    def sealed(self, seal: Seal) -> Fields:
        """The member that carries what the item does not show."""
        if self._result is None:
            return {}
        input = "".join(self._input) or "{}"
        sealed = SealedCall(name=self._name, input=input, result=self._result, round=self._round, beside=self._beside)
        return {SEALED: seal.sign(msgspec.json.encode(sealed).decode(), withheld=True)}

    def follower(self, new_id: Callable[[str], str], definitions: Mapping[str, msgspec.Raw]) -> Fields | None:
        """The item of its own that the result is, where it is one: of the tools that were found, their definitions."""
        if self.shape is not _TOOL_SEARCH or self._result is None:
            return None
        tools = [definitions[name] for name in references(self._result.get("content")) if name in definitions]
        item = {"type": "tool_search_output", "id": new_id("tso_"), "call_id": None, "execution": "server"}
        return {**item, "status": "completed", "tools": tools}

    @property
    def _failed(self) -> bool:
        result = self._result or {}
        return bool(error_code(result.get("content"))) or result.get("is_error") is True

    def _item(self, status: str) -> Fields:
        written = "".join(self._input)
        input = msgspec.json.decode(written) if written else {}
        fields = self.shape.fields(self._block, input if isinstance(input, dict) else {}, self._result)
        if status == "failed" and not self.shape.ended:
            status = "completed"
        return {"type": self.shape.type, "id": self.id, "status": status, **fields}


class ServerCalls:
    """The calls of one response, and the rounds that they were made in: a result ends its round."""

    def __init__(self, style: items.Style) -> None:
        self._style = style
        self._calls: dict[str, ServerCall] = {}
        self._beside: list[str] = []
        self._round, self._answered = 0, False

    def begin(self, block: Mapping[str, Any]) -> ServerCall:
        """A call begins, with this block."""
        self._begun()
        wire_name = (str(block["name"]), str(block.get("server_name", "")))
        name = self._style.served.get(wire_name, wire_name[0])
        call = self._calls[str(block["id"])] = ServerCall(self._style.new_id, block, name, self._round)
        return call

    def beside(self, id: str) -> None:
        """A call of a client's tool begins."""
        self._begun()
        self._beside.append(id)

    def end(self, block: Mapping[str, Any]) -> ServerCall:
        """The call that this is the result of, with the result in it."""
        self._answered = True
        call = self._calls[str(block["tool_use_id"])]
        call.answer(block, list(self._beside))
        return call

    def whole(self, call: ServerCall) -> Fields:
        """The whole item of a call that has its result."""
        return {**call.whole(True), **call.sealed(self._style.seal)}

    def follower(self, call: ServerCall) -> Fields | None:
        """The item of its own that the result is, where it is one."""
        return call.follower(self._style.new_id, self._style.definitions)

    def _begun(self) -> None:
        if self._answered:
            self._round, self._answered, self._beside = self._round + 1, False, []


def opened(sealed: str, seal: Seal) -> SealedCall | None:
    """What an item carried; None where it was sealed elsewhere. Raises Forged."""
    content = seal.open("", sealed)
    if not content:
        return None
    try:
        return msgspec.json.decode(content, type=SealedCall)
    except msgspec.DecodeError:
        raise Forged from None


def _search(block: Fields, input: Fields, result: Fields | None) -> Fields:
    query = input.get("query")
    action: Fields = {"type": "search", "query": query if isinstance(query, str) else ""}
    content = (result or {}).get("content")
    if isinstance(content, list):
        action["sources"] = [{"type": "url", "url": each["url"]} for each in content if "url" in each]
    return {"action": action}


def _page(block: Fields, input: Fields, result: Fields | None) -> Fields:
    return {"action": {"type": "open_page", "url": input.get("url")}}


def _mcp(block: Fields, input: Fields, result: Fields | None) -> Fields:
    content = (result or {}).get("content")
    failed = (result or {}).get("is_error") is True
    return {
        "approval_request_id": block.get("approval_request_id"),
        "server_label": block["server_name"],
        "name": block["name"],
        "arguments": msgspec.json.encode(input).decode(),
        "output": None if result is None or failed else words(content),
        "error": {"type": "mcp_tool_execution_error", "content": content} if failed else None,
    }


def _code(block: Fields, input: Fields, result: Fields | None) -> Fields:
    code = next((input[key] for key in ("code", "command") if isinstance(input.get(key), str)), "")
    if "path" in input:
        # The editor's commands are no code; what it is told stands for it.
        code = msgspec.json.encode(input).decode()
    logs = [{"type": "logs", "logs": words((result or {}).get("content"))}] if result is not None else None
    return {"code": msgspec.Raw(text_json(code)) if code else "", "container_id": "", "outputs": logs}


def _tools(block: Fields, input: Fields, result: Fields | None) -> Fields:
    return {"call_id": None, "execution": "server", "arguments": input}


_WEB_SEARCH = Shape(
    type="web_search_call", prefix="ws_", begun=("in_progress",), input_done=("searching",), fields=_search
)
_WEB_FETCH = Shape(
    type="web_search_call", prefix="ws_", begun=("in_progress",), input_done=("searching",), fields=_page
)
_MCP = Shape(
    type="mcp_call",
    prefix="mcp_",
    begun=("in_progress",),
    ended=("completed", "failed"),
    told_as=("mcp_call_arguments", "arguments"),
    fields=_mcp,
)
_CODE = Shape(
    type="code_interpreter_call",
    prefix="ci_",
    begun=("in_progress",),
    input_done=("interpreting",),
    told_as=("code_interpreter_call_code", "code"),
    fields=_code,
)
_TOOL_SEARCH = Shape(type="tool_search_call", prefix="tsc_", ended=(), fields=_tools)


def _shape(block: Mapping[str, Any]) -> Shape:
    name = str(block["name"])
    if block["type"] == "mcp_tool_use":
        return _MCP
    if name.startswith("tool_search_tool"):
        return _TOOL_SEARCH
    return {"web_search": _WEB_SEARCH, "web_fetch": _WEB_FETCH}.get(name, _CODE)
