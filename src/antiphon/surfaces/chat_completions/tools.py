"""`tools`, `tool_choice`, `response_format` and their older forms → the nouns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from antiphon.api.conversation import Tool, ToolChoice
from antiphon.api.errors import BadRequest
from antiphon.surfaces.chat_completions import wire
from antiphon.surfaces.chat_completions.reply import CUSTOM, FUNCTION, Form
from antiphon.surfaces.openai import functions
from antiphon.surfaces.openai.free_text import custom_tool
from antiphon.surfaces.openai.functions import choice_by_name, choice_by_word, raw_bytes


class Tooling(NamedTuple):
    """The tools of a request and how they must be used. `legacy` says that it speaks of functions, the older form,
    and waits for an answer in it; `forms` are those of calls that give free text, by the tool's name."""

    tools: tuple[Tool, ...]
    choice: ToolChoice
    legacy: bool
    forms: dict[str, Form]


def tooling(request: wire.Request, ignored: list[str], served: Sequence[Tool] = ()) -> Tooling:
    """All that a request says of tools, with those that are `served` here. What nobody could run is `ignored`."""
    legacy = bool(request.functions) and not request.tools
    box = _Toolbox(ignored)
    for index, function in enumerate(request.functions or () if legacy else ()):
        box.add_function(function, f"functions.{index}")
    for index, tool in enumerate(request.tools or ()):
        box.declare(tool, f"tools.{index}")
    tools = box.tools
    for tool_served in served:
        if tool_served.name in tools:
            taken = f"a tool is called {tool_served.name!r} already"
            raise BadRequest(f"web_search_options: names must be unique; {taken}")
        tools[tool_served.name] = tool_served
    # The older form has room for one call in its reply.
    parallel = request.parallel_tool_calls is not False and not legacy
    if legacy:
        return Tooling(tuple(tools.values()), _legacy_choice(request.function_call, tools), True, {})
    if box.is_left_out(request.tool_choice):
        return Tooling(tuple(tools.values()), ToolChoice(parallel=parallel), False, box.forms)
    choice, allowed = _choice(request.tool_choice, tools, parallel)
    return Tooling(allowed, choice, False, box.forms)


class _Toolbox:
    """The tools that a client declares, by their names."""

    def __init__(self, ignored: list[str]) -> None:
        self.tools: dict[str, Tool] = {}
        self.forms: dict[str, Form] = {}
        self._ignored = ignored
        self._left_out: set[str] = set()

    def declare(self, tool: wire.Tool, where: str) -> None:
        """A tool of any type."""
        match tool:
            case wire.Tool(type="function", function=wire.Function() as function):
                self.add_function(function, f"{where}.function")
            case wire.Tool(type="function", name=str(name)):
                self.add_function(wire.Function(name, tool.description, tool.parameters, tool.strict), where)
            case wire.Tool(type="custom", custom=wire.Custom() as custom):
                self._add_custom(custom, f"{where}.custom", CUSTOM)
            case wire.Tool(type="custom", name=str(name)):
                self._add_custom(wire.Custom(name, tool.description, tool.format), where, FUNCTION)
            case wire.Tool(type="function" | "custom"):
                raise BadRequest(f"{where}.{tool.type}: Field required")
            case _ if tool.type not in self._left_out:
                self._left_out.add(tool.type)
                self._ignored.append(f"tools.{tool.type}")

    def is_left_out(self, tool_choice: str | wire.ToolChoice | None) -> bool:
        """Whether a choice is one of tools that are left out, for want of any that could be called."""
        if isinstance(tool_choice, wire.ToolChoice):
            return tool_choice.type in self._left_out
        return tool_choice == "required" and not self.tools and bool(self._left_out)

    def add_function(self, function: wire.Function, where: str) -> None:
        """A function."""
        parameters = raw_bytes(function.parameters)
        told = functions.function(function.name, function.description, parameters, function.strict, where)
        self._add(told, where)

    def _add_custom(self, custom: wire.Custom, where: str, form: Form) -> None:
        self._add(custom_tool(custom.name, custom.description, custom.format, where, self._ignored), where)
        self.forms[custom.name] = form

    def _add(self, tool: Tool, where: str) -> None:
        if tool.name in self.tools:
            raise BadRequest(f"{where}.name: names must be unique; {tool.name!r} is there twice")
        self.tools[tool.name] = tool


def output_schema(format: wire.ResponseFormat | None) -> dict[str, Any] | None:
    """The schema that the text of the reply must match."""
    if format is None:
        return None
    where = "response_format"
    match format.type:
        case "text":
            return None
        case "json_object":
            schema, where = format.schema, f"{where}.schema"
        case "json_schema":
            if format.json_schema is None:
                raise BadRequest(f"{where}.json_schema: Field required")
            schema, where = format.json_schema.schema, f"{where}.json_schema.schema"
        case _:
            raise BadRequest(f"{where}.type: Input should be 'text', 'json_object' or 'json_schema'")
    return functions.output_schema(raw_bytes(schema), where)


def _choice(
    tool_choice: str | wire.ToolChoice | None, tools: dict[str, Tool], parallel: bool
) -> tuple[ToolChoice, tuple[Tool, ...]]:
    shown = tuple(tools.values())
    if tool_choice is None or isinstance(tool_choice, str):
        return choice_by_word(tool_choice or "auto", tools, parallel, "tool_choice"), shown
    if tool_choice.type in ("function", "custom"):
        name, where = _chosen(tool_choice, f"tool_choice.{tool_choice.type}")
        return choice_by_name(name, tools, parallel, where), shown
    if tool_choice.type == "allowed_tools":
        part, where = tool_choice.allowed_tools, "tool_choice.allowed_tools"
        if part is None:
            part, where = wire.AllowedTools(tool_choice.mode or "auto", tool_choice.tools or []), "tool_choice"
        names = [_chosen(each, f"{where}.tools.{index}")[0] for index, each in enumerate(part.tools)]
        for name in names:
            choice_by_name(name, tools, parallel, f"{where}.tools")
        allowed = {name: tool for name, tool in tools.items() if name in names}
        return choice_by_word(part.mode, allowed, parallel, f"{where}.mode"), tuple(allowed.values())
    raise BadRequest("tool_choice.type: Input should be 'function', 'custom' or 'allowed_tools'")


def _chosen(chosen: wire.Chosen, where: str) -> tuple[str, str]:
    """The name of a tool, and the dotted path of that."""
    named = chosen.function or chosen.custom
    if named is not None:
        return named.name, f"{where}.name"
    if chosen.name is None:
        raise BadRequest(f"{where}: Field required")
    return chosen.name, f"{where.rpartition('.')[0]}.name"


def _legacy_choice(choice: str | wire.Named | None, tools: dict[str, Tool]) -> ToolChoice:
    if isinstance(choice, wire.Named):
        return choice_by_name(choice.name, tools, False, "function_call.name")
    return choice_by_word(choice or "auto", tools, False, "function_call")
