"""Calls of MCP servers that the client has approved. They are run within the response, before the model goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from antiphon.api.conversation import Conversation, ToolResult, Turn
from antiphon.api.errors import BadRequest
from antiphon.api.events import AnyEvent, Emit, Run, ServerToolStart, Started, ToolDelta, ToolEnd, Usage
from antiphon.api.reply import ToolBlock
from antiphon.api.seal import Seal
from antiphon.server_tools.result import told_result
from antiphon.server_tools.rounds import Rounds
from antiphon.surfaces.responses.request.input_items import ApprovalRequest
from antiphon.surfaces.responses.tools.approvals import block_of
from antiphon.surfaces.responses.tools.toolbox import Toolbox


class ApprovedCalls:
    """Some calls, by the items that asked for their approval. Raises BadRequest for a call of a tool that the request
    does not declare."""

    def __init__(self, requests: Sequence[ApprovalRequest], box: Toolbox) -> None:
        self._box = box
        self._calls = {each.id: block_of(each, box.known_on(each.server_label, each.name)) for each in requests}
        for request in requests:
            if self._calls[request.id].name not in box.runnable:
                raise BadRequest(
                    f"tools: the approved call is of {request.name!r} of {request.server_label!r}; declare it again"
                )

    async def run(
        self, rounds: Rounds, further: Callable[[list[Mapping[str, Any]]], Awaitable[Run]], emit: Emit
    ) -> None:
        """Emit batches of events: the calls, their results, and then what `further` makes of the blocks of these. The
        first begins with `Started`, the last ends with `Finished`."""
        # The prompt is not known yet.
        await emit([Started(Usage(prompt=0))])
        await emit([event for id, call in self._calls.items() for event in self._begun(id, call)])
        results = await rounds.results(list(self._calls.values()), emit)
        go_on = await further([result.block for result in results])

        async def passing(batch: list[AnyEvent]) -> None:
            events: list[AnyEvent] = [event for event in batch if not isinstance(event, Started)]
            if events:
                await emit(events)

        await go_on(passing)

    def _begun(self, request_id: str, call: ToolBlock) -> list[AnyEvent]:
        declared = self._box.runnable[call.name]
        id = declared.wire_id(call.id)
        block = {**declared.use, "id": id, "input": {}, "approval_request_id": request_id}
        return [ServerToolStart(id, block), ToolDelta(call.input), ToolEnd()]

    def answered(
        self, conversation: Conversation, blocks: Sequence[Mapping[str, Any]], seal: Seal, *, sees: bool
    ) -> Conversation:
        """The conversation with the results where the calls were approved."""
        results = {
            call.id: replace(told_result(block, seal, self._box.reveal, sees=sees)[0], tool_use_id=call.id)
            for call, block in zip(self._calls.values(), blocks, strict=True)
        }
        return replace(conversation, turns=tuple(_with(turn, results) for turn in conversation.turns))


def _with(turn: Turn, results: Mapping[str, ToolResult]) -> Turn:
    parts = tuple(results.get(part.tool_use_id, part) if isinstance(part, ToolResult) else part for part in turn.parts)
    return turn if parts == turn.parts else replace(turn, parts=parts)
