"""Input items → the turns of a conversation.

Items come one by one, without messages around them: what the model said, thought and called follows in their order,
and the client's results stand behind the calls. Neighbouring items of one side are one turn, as `prompt/turns.py` puts
them together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, assert_never

import msgspec
from msgspec.structs import replace

from antiphon.api.conversation import Conversation, Part, Text, Thinking, ToolResult, ToolUse, Turn
from antiphon.api.errors import BadRequest
from antiphon.api.seal import Forged, Seal
from antiphon.prompt.citations.labelling import Sources
from antiphon.prompt.summary import summary_text
from antiphon.prompt.templates.render import introduced
from antiphon.server_tools.result import told_result
from antiphon.surfaces.openai.content import Reader
from antiphon.surfaces.openai.free_text import called_with
from antiphon.surfaces.openai.functions import arguments, raw_bytes
from antiphon.surfaces.responses import compaction
from antiphon.surfaces.responses.request import input_items, wire
from antiphon.surfaces.responses.request.input_items import Placed
from antiphon.surfaces.responses.request.parts import output_pieces, pieces
from antiphon.surfaces.responses.server_items import SealedCall, opened
from antiphon.surfaces.responses.tools import approvals
from antiphon.surfaces.responses.tools.toolbox import Toolbox, bring

_SILENT = {"configuration_update", compaction.TRIGGER}
_DENIED = "The user did not approve this call"
_UNSAFE = re.compile(r"[^a-z0-9_]")


class Turns:
    """Reads items one by one, and holds which calls still wait for their result. What is found can be cited where the
    reply `cites`."""

    def __init__(self, reader: Reader, seal: Seal, box: Toolbox, *, cites: bool) -> None:
        self.sources = Sources() if cites else None
        """What was found in the turns that were read, where it can be cited."""
        self._reader = reader
        self._seal = seal
        self._box = box
        self._waiting: dict[str, str] = {}
        self._outcomes: dict[str, tuple[str, input_items.ServerCall]] = {}
        self._approved: set[str] = set()
        self._round: SealedCall | None = None
        self._results: list[ToolResult] = []

    def read(self, items: list[Placed]) -> tuple[Turn, ...]:
        """The turns of all items. Raises BadRequest for a call without a result, and for a result without a call."""
        self._outcomes = {
            item.approval_request_id: (where, item)
            for where, _, item in items
            if isinstance(item, input_items.ServerCall) and item.approval_request_id
        }
        last = max((index for index, (_, _, item) in enumerate(items) if input_items.is_said(item)), default=-1)
        turns: list[Turn] = []
        for index, (where, kind, item) in enumerate(items):
            if isinstance(item, input_items.Compaction) and (summary := self._summary(item, where)):
                turns = self._compacted(turns, summary, where)
            else:
                turns += self._turns(where, kind, item, asking=index > last)
        turns += self._round_ended()
        self._check_answered()
        if not turns or all(turn.role == "system" for turn in turns):
            # A model is asked nothing by programs that only try whether there is one.
            turns.append(Turn(role="user", parts=(Text(""),)))
        return tuple(turns)

    def _turns(self, where: str, kind: str, item: input_items.AnyItem, *, asking: bool) -> Iterator[Turn]:
        if isinstance(item, input_items.ServerCall) and item.approval_request_id in self._approved:
            return  # Its result stands where it was approved.
        sealed = item.encrypted_content if isinstance(item, input_items.ServerCall | input_items.Call) else None
        if sealed and (call := self._sealed_call(sealed, where)):
            yield from self._server_call(call)
            return
        if self._round is None or _call_id(item) not in self._round.beside:
            yield from self._round_ended()
        if (turn := self._turn(where, kind, item, asking=asking)) is not None:
            yield turn

    def _turn(self, where: str, kind: str, item: input_items.AnyItem, *, asking: bool) -> Turn | None:
        match item:
            case input_items.Message():
                return self._message(item, where, asking)
            case input_items.Reasoning():
                return _said(Thinking(self._thought(item, where)))
            case input_items.Call(execution="server") | input_items.ServerCall():
                return _said(Text(_omitted(kind)))
            case input_items.Output(execution="server"):
                return None  # The call carries what the model saw of it.
            case input_items.Call():
                return _said(self._call(kind, item, where))
            case input_items.Output():
                return Turn(role="user", parts=(self._result(kind, item, where),))
            case input_items.Tools(tools):
                text = "\n".join(map(introduced, bring(self._box, tools, f"{where}.tools")))
                return Turn(role="system", parts=(Text(text),))
            case input_items.ToolList():
                return None
            case input_items.ApprovalRequest():
                return _said(self._guarded(item, where))
            case input_items.ApprovalResponse():
                return Turn(role="user", parts=(self._decided(item, where),))
            case input_items.Compaction():
                return None  # It was sealed elsewhere.
            case input_items.Reference():
                raise BadRequest(f"{where}.id: Item with id '{item.id}' not found; send the item itself")
            case input_items.Other():
                return None if kind in _SILENT else _said(Text(_omitted(kind)))
            case _:
                assert_never(item)

    def _server_call(self, call: SealedCall) -> Iterator[Turn]:
        """A call that ran here. Its result stands behind all calls of its round."""
        if self._round is None or self._round.round != call.round:
            yield from self._round_ended()
        self._round = call
        result, _ = told_result(
            call.result, self._seal, self._box.reveal, sees=self._reader.vision, sources=self.sources
        )
        self._results.append(result)
        yield _said(ToolUse(id=result.tool_use_id, name=call.name, input=call.input))

    def _round_ended(self) -> Iterator[Turn]:
        results, self._results, self._round = self._results, [], None
        if results:
            yield Turn(role="user", parts=tuple(results))

    def _message(self, item: input_items.Message, where: str, asking: bool) -> Turn:
        content = pieces(item.content, f"{where}.content", self.sources.all() if self.sources else ())
        match item.role:
            case "system" | "developer":
                return Turn(role="system", parts=self._reader.parts(content))
            case "user":
                self._check_answered(where)
                # An empty question is a question still: without its turn, the reply before it would be continued.
                return Turn(role="user", parts=self._reader.parts(content, asking=asking) or (Text(""),))
            case "assistant":
                return Turn(role="assistant", parts=self._reader.parts(content))
            case _:
                raise BadRequest(f"{where}.role: Input should be 'user', 'assistant', 'system' or 'developer'")

    def _thought(self, item: input_items.Reasoning, where: str) -> str:
        text = "".join(part.text or "" for part in item.content or item.summary or ())
        return (self._opened(item.encrypted_content, where) if item.encrypted_content else "") or text

    def _summary(self, item: input_items.Compaction, where: str) -> compaction.Summary | None:
        try:
            return compaction.opened(item.encrypted_content or "", self._seal)
        except Forged:
            raise _forged(where) from None

    def _compacted(self, turns: list[Turn], summary: compaction.Summary, where: str) -> list[Turn]:
        """The turns so far with a summary, behind them or in place of them."""
        turns = [*turns, *self._round_ended()]
        if not summary.whole:
            return [*turns, Turn(role="user", parts=(Text(summary_text(summary.text)),))]
        self._check_answered(where)
        self.sources = self.sources and Sources()
        so_far = Conversation(turns=tuple(turns), tools=tuple(self._box.later.values()))
        return list(compaction.resumed(so_far, summary.text).turns)

    def _opened(self, sealed: str, where: str) -> str:
        """What was sealed here; what was sealed elsewhere tells nothing."""
        try:
            return self._seal.open("", sealed)
        except Forged:
            raise _forged(where) from None

    def _sealed_call(self, sealed: str, where: str) -> SealedCall | None:
        try:
            return opened(sealed, self._seal)
        except Forged:
            raise _forged(where) from None

    def _call(self, kind: str, item: input_items.Call, where: str) -> ToolUse:
        id = item.call_id or item.id
        if not id:
            raise BadRequest(f"{where}.call_id: Field required")
        if id in self._waiting:
            raise BadRequest(f"{where}.call_id: ids must be unique; {id!r} is there twice")
        self._waiting[id] = where
        name, input = self._called(kind, item, where)
        return ToolUse(id=id, name=name, input=input)

    def _called(self, kind: str, item: input_items.Call, where: str) -> tuple[str, str]:
        """The name of the tool as the model knows it, and the JSON object that it was called with."""
        if kind in ("function_call", "custom_tool_call"):
            if not item.name:
                raise BadRequest(f"{where}.name: Field required")
            name = self._box.known_as(item.name, item.namespace)
            if kind == "function_call":
                return name, arguments(raw_bytes(item.arguments))
            return name, called_with(item.input or "")
        name = kind.removesuffix("_call")
        member = {"tool_search": "arguments", "apply_patch": "operation"}.get(name, "action")
        value = wire.value(raw_bytes(getattr(item, member)) or raw_bytes(item.actions) or b"{}", f"{where}.{member}")
        if isinstance(value, list):
            value = value[0] if value else {}
        if not isinstance(value, dict):
            raise BadRequest(f"{where}.{member}: Input should be a valid dictionary")
        return name, msgspec.json.encode(_meant(name, value)).decode()

    def _result(self, kind: str, item: input_items.Output, where: str) -> ToolResult:
        id = item.call_id or item.id
        if not id:
            raise BadRequest(f"{where}.call_id: Field required")
        if id not in self._waiting:
            raise BadRequest(f"{where}.call_id: No tool call found for {kind.replace('_', ' ')} with call_id {id}.")
        del self._waiting[id]
        if item.tools is not None:
            names = "\n".join(map(introduced, bring(self._box, item.tools, f"{where}.tools")))
            return ToolResult(tool_use_id=id, parts=(Text(names or "nothing"),))
        parts = self._reader.parts(output_pieces(item, f"{where}.output"))
        return ToolResult(tool_use_id=id, parts=parts, is_error=item.status == "failed")

    def _guarded(self, item: input_items.ApprovalRequest, where: str) -> ToolUse:
        block = approvals.block_of(item, self._box.known_on(item.server_label, item.name))
        if block.id in self._waiting:
            raise BadRequest(f"{where}.id: ids must be unique; {item.id!r} is there twice")
        self._waiting[block.id] = where
        return ToolUse(id=block.id, name=block.name, input=block.input)

    def _decided(self, item: input_items.ApprovalResponse, where: str) -> ToolResult:
        """What came of a call that was approved, or that it was not."""
        id = approvals.call_id(item.approval_request_id)
        if id not in self._waiting:
            raise BadRequest(f"{where}.approval_request_id: no request that waits for an answer has this id")
        del self._waiting[id]
        if not item.approve:
            why = f": {item.reason}" if item.reason else ""
            return ToolResult(tool_use_id=id, parts=(Text(_DENIED + why),), is_error=True)
        self._approved.add(item.approval_request_id)
        block: Mapping[str, Any] | None = None
        if (outcome := self._outcomes.get(item.approval_request_id)) is not None and outcome[1].encrypted_content:
            call = self._sealed_call(outcome[1].encrypted_content, outcome[0])
            block = call.result if call else None
        if block is None:
            return ToolResult(tool_use_id=id, parts=(Text(_omitted("mcp_call")),))
        result, _ = told_result(block, self._seal, self._box.reveal, sees=self._reader.vision)
        return replace(result, tool_use_id=id)

    def _check_answered(self, where: str = "input") -> None:
        if self._waiting:
            raise BadRequest(f"{where}: No tool output found for function call {', '.join(self._waiting)}.")


def _call_id(item: input_items.AnyItem) -> str | None:
    """The id of the client's call that an item is."""
    if isinstance(item, input_items.ApprovalRequest):
        return approvals.call_id(item.id)
    return item.call_id if isinstance(item, input_items.Call) else None


def _said(part: Part) -> Turn:
    empty = isinstance(part, Text | Thinking) and not part.text
    return Turn(role="assistant", parts=() if empty else (part,))


def _meant(name: str, members: Mapping[str, Any]) -> dict[str, Any]:
    """What the model gave, without what the item says besides."""
    constant = {"local_shell": ("type", "env")}.get(name, ())
    return {key: value for key, value in members.items() if value is not None and key not in constant}


def _omitted(kind: str) -> str:
    """The short text that stands for an item that no model takes."""
    return f"[{_UNSAFE.sub('?', kind)[:60]} omitted]"


def _forged(where: str) -> BadRequest:
    return BadRequest(
        f"{where}.encrypted_content: The encrypted content could not be verified; send it as it came",
        code="invalid_encrypted_content",
    )
