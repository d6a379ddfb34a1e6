"""`tool_choice` → how the tools of a request must be used, and which of them may be."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from antiphon.api.conversation import Tool, ToolChoice
from antiphon.api.errors import BadRequest
from antiphon.surfaces.openai.functions import choice_by_name, choice_by_word
from antiphon.surfaces.responses.request import wire
from antiphon.surfaces.responses.tools.toolbox import Toolbox

Chosen = tuple[ToolChoice, tuple[Tool, ...]]


def choice(told: str | wire.ToolChoice | None, box: Toolbox, parallel: bool) -> Chosen:
    """How tools must be used, and all of them, withdrawn where they may not be. Raises BadRequest."""
    shown = (*box.tools.values(), *box.later.values())
    if told is None or isinstance(told, str):
        return choice_by_word(told or "auto", box.tools, parallel, "tool_choice"), shown
    match told.type:
        case "function" | "custom":
            if told.name is None:
                raise BadRequest("tool_choice.name: Field required")
            name = box.known_as(told.name, None)
            return choice_by_name(name, box.tools, parallel, "tool_choice.name"), shown
        case "allowed_tools":
            return _among(list(_allowed(told, box)), told.mode or "auto", "tool_choice.mode", shown, parallel)
        case "mcp" if "tools.mcp" not in box.ignored:
            found = box.on_server(told.server_label, told.name)
            if not found:
                raise BadRequest("tool_choice: there is no such MCP server or tool; see server_label and name")
            return _among(found, "required", "tool_choice", shown, parallel)
        case kind if kind in box.tools:
            # The tools that the API defines are called by the names of their types.
            return choice_by_name(kind, box.tools, parallel, "tool_choice.type"), shown
        case kind if f"tools.{kind}" in box.ignored:
            return ToolChoice(parallel=parallel), shown
        case _:
            raise BadRequest(
                "tool_choice.type: Input should be 'function', 'custom', 'mcp', 'allowed_tools' or the type of a "
                "declared tool"
            )


def _among(names: list[str], word: str, where: str, shown: tuple[Tool, ...], parallel: bool) -> Chosen:
    """Only tools with these names may be used. What the prompt says of the others stays, and with it the prompt's
    beginning."""
    kept = tuple(replace(tool, withdrawn=tool.name not in names) for tool in shown)
    return choice_by_word(word, names, parallel, where), kept


def _allowed(told: wire.ToolChoice, box: Toolbox) -> Iterator[str]:
    for index, each in enumerate(told.tools or ()):
        name, kind = each.get("name"), each.get("type")
        if kind == "mcp":
            found = box.on_server(each.get("server_label"), name)
        else:
            known = box.known_as(name, None) if isinstance(name, str) else str(kind)
            found = [known] if known in box.tools else []
        if not found and f"tools.{kind}" not in box.ignored:
            raise BadRequest(f"tool_choice.tools.{index}: Tool '{name or kind}' not found in provided tools")
        yield from found
