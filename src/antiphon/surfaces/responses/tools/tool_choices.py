"""`tool_choice` → how the tools of a request must be used, and which of them may be."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec.structs import replace

from antiphon.api.conversation import Tool, ToolChoice
from antiphon.api.errors import BadRequest
from antiphon.surfaces.openai.functions import choice_by_name, choice_by_word
from antiphon.surfaces.responses.request import wire
from antiphon.surfaces.responses.tools.toolbox import Toolbox

Chosen = tuple[ToolChoice, tuple[Tool, ...]]


def choice(tool_choice: str | wire.ToolChoice | None, box: Toolbox, parallel: bool) -> Chosen:
    """How tools must be used, and all of them, withdrawn where they may not be. Raises BadRequest."""
    shown = (*box.tools.values(), *box.later.values())
    if tool_choice is None or isinstance(tool_choice, str):
        return _by_word(tool_choice or "auto", box.tools, "tool_choice", box, parallel), shown
    match tool_choice.type:
        case "function" | "custom":
            if tool_choice.name is None:
                raise BadRequest("tool_choice.name: Field required")
            name = box.known_as(tool_choice.name, None)
            return choice_by_name(name, box.tools, parallel, "tool_choice.name"), shown
        case "allowed_tools":
            names = list(_allowed(tool_choice, box))
            word = _by_word(tool_choice.mode or "auto", names, "tool_choice.mode", box, parallel)
            return word, _only(names, shown)
        case "mcp" if "tools.mcp" not in box.ignored:
            names = box.on_server(tool_choice.server_label, tool_choice.name)
            if not names:
                raise BadRequest("tool_choice: there is no such MCP server or tool; see server_label and name")
            return ToolChoice(mode="any", parallel=parallel), _only(names, shown)
        case kind if names := box.of_type(kind):
            if len(names) == 1:
                return ToolChoice(mode="tool", name=names[0], parallel=parallel), shown
            return ToolChoice(mode="any", parallel=parallel), _only(names, shown)
        case kind if box.left_out(kind):
            return ToolChoice(parallel=parallel), shown
        case _:
            raise BadRequest(
                "tool_choice.type: Input should be 'function', 'custom', 'mcp', 'allowed_tools' or the type of a "
                "declared tool"
            )


def _by_word(word: str, names: Collection[str], where: str, box: Toolbox, parallel: bool) -> ToolChoice:
    """How tools with these names must be used. Where all that could be meant are left out, nothing can be required."""
    if word == "required" and not names and any(each.startswith("tools.") for each in box.ignored):
        return ToolChoice(parallel=parallel)
    return choice_by_word(word, names, parallel, where)


def _only(names: list[str], shown: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """Only tools with these names may be used. What the prompt says of the others stays, and with it the prompt's
    beginning."""
    return tuple(replace(tool, withdrawn=tool.name not in names) for tool in shown)


def _allowed(tool_choice: wire.ToolChoice, box: Toolbox) -> Iterator[str]:
    for index, each in enumerate(tool_choice.tools or ()):
        name, kind = each.get("name"), str(each.get("type"))
        if kind == "mcp":
            names = box.on_server(each.get("server_label"), name)
        elif isinstance(name, str):
            known = box.known_as(name, None)
            names = [known] if known in box.tools else []
        else:
            names = box.of_type(kind)
        if not names and not box.left_out(kind):
            raise BadRequest(f"tool_choice.tools.{index}: Tool '{name or kind}' not found in provided tools")
        yield from names
