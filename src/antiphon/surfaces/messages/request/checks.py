"""What must be true of the messages as a whole, in the words of the API: who speaks first, and calls and results
that belong together. Roles that follow each other are one turn; system messages between them do not part them.

As strict as the original where a model could not make sense of the conversation: an answer before any question, a
call without its result. More lenient where it could: an assistant message may be empty, calls of different turns may
share an id, a prefill may end with a space."""

from __future__ import annotations

from antiphon.api.conversation import Role
from antiphon.api.errors import BadRequest
from antiphon.surfaces.messages.request import wire

Indexed = tuple[int, Role, list[wire.AnyBlock]]


def check(messages: list[Indexed]) -> None:
    """Raise BadRequest unless every call has its result, and every result its call, right where they belong."""
    runs = _runs([message for message in messages if message[1] != "system"])
    if not runs or runs[0][0][1] != "user":
        raise BadRequest('messages: first message must use the "user" role')
    decoded: dict[str, int] = {}
    for position, run in enumerate(runs):
        if run[0][1] == "user":
            _check_results(run, decoded)
            decoded = {}
        else:
            decoded = _calls(run)
            following = runs[position + 1] if position + 1 < len(runs) else []
            _check_answered(decoded, following, run[-1][0])


def _runs(messages: list[Indexed]) -> list[list[Indexed]]:
    runs: list[list[Indexed]] = []
    for message in messages:
        if runs and runs[-1][0][1] == message[1]:
            runs[-1].append(message)
        else:
            runs.append([message])
    return runs


def _calls(run: list[Indexed]) -> dict[str, int]:
    calls: dict[str, int] = {}
    for index, _, blocks in run:
        for place, block in enumerate(blocks):
            if isinstance(block, wire.ToolResult):
                raise BadRequest(
                    f"messages.{index}.content.{place}: `tool_result` blocks can only be in `user` messages"
                )
            if isinstance(block, wire.ToolUse):
                if block.id in calls:
                    raise BadRequest(f"messages.{index}.content.{place}: `tool_use` ids must be unique")
                calls[block.id] = index
    return calls


def _check_results(run: list[Indexed], decoded: dict[str, int]) -> None:
    seen: set[str] = set()
    for index, _, blocks in run:
        for place, block in enumerate(blocks):
            where = f"messages.{index}.content.{place}"
            if isinstance(block, wire.ToolUse):
                raise BadRequest(f"{where}: `tool_use` blocks can only be in `assistant` messages")
            if not isinstance(block, wire.ToolResult):
                continue
            if block.tool_use_id not in decoded:
                raise BadRequest(
                    f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {block.tool_use_id}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
            if block.tool_use_id in seen:
                raise BadRequest(
                    f"{where}: each `tool_use` must have a single result. Found multiple `tool_result` blocks with "
                    f"id: {block.tool_use_id}"
                )
            seen.add(block.tool_use_id)


def _check_answered(decoded: dict[str, int], following: list[Indexed], last: int) -> None:
    answered = {
        block.tool_use_id for _, _, blocks in following for block in blocks if isinstance(block, wire.ToolResult)
    }
    missing = [id for id in decoded if id not in answered]
    if missing:
        raise BadRequest(
            f"messages.{last}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )
