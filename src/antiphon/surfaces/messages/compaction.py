"""`compaction` blocks that come back: what stands before the last one is left out, and its summary stands there."""

from __future__ import annotations

from collections.abc import Iterator

from antiphon.api.context_management import Compact, Edit
from antiphon.api.errors import BadRequest
from antiphon.prompt.summary import summary_text
from antiphon.surfaces.messages.request import tools, wire
from antiphon.surfaces.messages.request.checks import Indexed


def resumed(messages: list[Indexed]) -> list[Indexed]:
    """The messages with the summary of the last compaction in place of all before it; tools that came up there are told
    of again. A block without a summary stands for a compaction that failed, and changes nothing."""
    for position in reversed(range(len(messages))):
        index, role, blocks = messages[position]
        for place in reversed(range(len(blocks))):
            if (summary := _summary(blocks[place])) is None:
                continue
            gone = [block for _, _, earlier in messages[:position] for block in earlier] + blocks[:place]
            changes = list(_changes(gone))
            head: list[Indexed] = [(index, "user", [wire.Text(summary_text(summary))])]
            if changes:
                head.append((index, "system", changes))
            rest = blocks[place + 1 :]
            own: list[Indexed] = [(index, role, rest)] if rest else []
            return [*head, *own, *messages[position + 1 :]]
    return messages


def _summary(block: wire.AnyBlock) -> str | None:
    if not isinstance(block, wire.Other) or block.type != "compaction":
        return None
    content = block.fields.get("content")
    return content if isinstance(content, str) and content.strip() else None


def _changes(gone: list[wire.AnyBlock]) -> Iterator[wire.AnyBlock]:
    """What was said of tools in blocks that are left out, as blocks of a system message."""
    for block in gone:
        for kind, fields in tools.references(block, nested=True):
            if kind in ("tool_addition", "tool_removal"):
                yield wire.Other(kind, fields)
            elif kind == "tool_reference":
                reference = {"type": "tool_reference", "name": tools.named(kind, fields)}
                yield wire.Other("tool_addition", {"type": "tool_addition", "tool": reference})


def alone(request: wire.Request) -> tuple[Edit, ...]:
    """The edits of a request for a summary and nothing else. Raises BadRequest for what only shapes a reply."""
    assert request.compaction is not None
    output = request.output_config.format if request.output_config else None
    forced = request.tool_choice is not None and request.tool_choice.type in ("any", "tool")
    for name, value in (
        ("context_management", request.context_management),
        ("stop_sequences", request.stop_sequences),
        ("output_config.format", output),
        ("output_format", request.output_format),
        ("tool_choice", forced),
    ):
        if value:
            raise BadRequest(f"{name}: cannot be combined with `compaction`, which is answered by a summary alone")
    return (Compact(on_demand=True, instructions=request.compaction.instructions or "", pause=True),)
