"""`compaction` blocks: what they tell of the tools, and what stands for the messages before one that comes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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
            # What the block tells itself holds, as the messages that it was written of may not have come with it.
            changes = _own_changes(blocks[place])
            if changes is None:
                earlier = [block for _, _, each in messages[:position] for block in each]
                changes = list(_changes(earlier + blocks[:place]))
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


def tool_changes(messages: list[Indexed]) -> list[dict[str, Any]]:
    """What takes the tools that a request declares to those at the end of its messages, for the block of a summary to
    tell: the last change of each tool, with its definition where it came up on the way."""
    last: dict[tuple[str, str], dict[str, Any]] = {}
    definitions: dict[tuple[str, str], dict[str, Any]] = {}
    for change in _changes(block for _, _, blocks in messages for block in blocks):
        tool = change.fields.get("tool")
        if not isinstance(tool, dict):
            continue
        subject = _subject(change, tool)
        if "definition" in tool:
            definitions[subject] = tool
        if change.type == "tool_addition":
            tool = definitions.get(subject, tool)
        entry = {"type": change.type, "tool": {"type": "tool_reference", **tool}}
        if last.get(subject) != entry:
            # Those that came up are told in the order in which the prompt behind the summary has them.
            last.pop(subject, None)
            last[subject] = entry
    return list(last.values())


def _subject(change: wire.Other, tool: Mapping[str, Any]) -> tuple[str, str]:
    """Which tool is changed: the server that it is on, if any, and its name; a toolset has a type only."""
    definition = tool.get("definition")
    kind = definition.get("type") if isinstance(definition, dict) else None
    return str(tool.get("server_name", "")), tools.named(change.type, change.fields) or str(kind)


def _own_changes(block: wire.AnyBlock) -> list[wire.AnyBlock] | None:
    """The `tool_changes` of a block, None where it has none. What they refer to may be gone from `tools` by now."""
    changes = block.fields.get("tool_changes") if isinstance(block, wire.Other) else None
    if not isinstance(changes, list):
        return None
    return [_standing(each["type"], each["tool"]) for each in changes if _is_change(each)]


def _is_change(entry: Any) -> bool:
    known = isinstance(entry, dict) and entry.get("type") in ("tool_addition", "tool_removal")
    return known and isinstance(entry.get("tool"), dict)


def _standing(kind: str, tool: Mapping[str, Any]) -> wire.Other:
    """A change as a block of the system message behind a summary. Nobody is refused for a tool that it refers to, if
    that is not declared any more: the same history is taken where it was not summarised."""
    fields = {key: value for key, value in tool.items() if (key, value) != ("type", "tool_reference")}
    return wire.Other(kind, {"type": kind, "tool": fields})


def _changes(blocks: Iterable[wire.AnyBlock]) -> Iterator[wire.Other]:
    """What is said of tools in blocks that are left out, as blocks of a system message."""
    for block in blocks:
        for kind, fields in tools.references(block, nested=True):
            if kind in ("tool_addition", "tool_removal"):
                yield wire.Other(kind, fields)
            elif kind == "tool_reference":
                yield _standing("tool_addition", {"name": tools.named(kind, fields)})


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
