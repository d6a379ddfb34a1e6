"""`tools`, `tool_choice`, `response_format` and their older forms → the nouns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from antiphon.api.conversation import Tool, ToolChoice
from antiphon.api.errors import BadRequest
from antiphon.surfaces.chat_completions import wire
from antiphon.surfaces.openai import functions
from antiphon.surfaces.openai.functions import choice_by_name, choice_by_word, raw_bytes


class Tooling(NamedTuple):
    """The tools of a request and how they must be used. `legacy` says that it speaks of functions, the older form,
    and waits for an answer in it."""

    tools: tuple[Tool, ...]
    choice: ToolChoice
    legacy: bool


def tooling(request: wire.Request, served: Sequence[Tool] = ()) -> Tooling:
    """All that a request says of tools, with those that are `served` here."""
    legacy = bool(request.functions) and not request.tools
    if legacy:
        placed = [(f"functions.{at}", function) for at, function in enumerate(request.functions or ())]
    else:
        placed = [_function(tool, f"tools.{at}") for at, tool in enumerate(request.tools or ())]
    tools: dict[str, Tool] = {}
    for where, function in placed:
        if function.name in tools:
            raise BadRequest(f"{where}.name: names must be unique; {function.name!r} is there twice")
        tools[function.name] = functions.function(
            function.name, function.description, raw_bytes(function.parameters), function.strict, where
        )
    for tool in served:
        if tool.name in tools:
            raise BadRequest(f"web_search_options: names must be unique; a tool is called {tool.name!r} already")
        tools[tool.name] = tool
    # The older form has room for one call in its reply.
    parallel = request.parallel_tool_calls is not False and not legacy
    if legacy:
        return Tooling(tuple(tools.values()), _legacy_choice(request.function_call, tools), True)
    choice, allowed = _choice(request.tool_choice, tools, parallel)
    return Tooling(allowed, choice, False)


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


def _function(tool: wire.Tool, where: str) -> tuple[str, wire.Function]:
    if tool.type != "function":
        raise BadRequest(f"{where}.type: Input should be 'function'; tools of other types cannot be called here")
    if tool.function is None:
        raise BadRequest(f"{where}.function: Field required")
    return f"{where}.function", tool.function


def _choice(
    tool_choice: str | wire.ToolChoice | None, tools: dict[str, Tool], parallel: bool
) -> tuple[ToolChoice, tuple[Tool, ...]]:
    shown = tuple(tools.values())
    if tool_choice is None or isinstance(tool_choice, str):
        return choice_by_word(tool_choice or "auto", tools, parallel, "tool_choice"), shown
    if tool_choice.type == "function":
        if tool_choice.function is None:
            raise BadRequest("tool_choice.function: Field required")
        return choice_by_name(tool_choice.function.name, tools, parallel, "tool_choice.function.name"), shown
    if tool_choice.type == "allowed_tools" and tool_choice.allowed_tools is not None:
        names = [each.function.name for each in tool_choice.allowed_tools.tools if each.function is not None]
        for name in names:
            choice_by_name(name, tools, parallel, "tool_choice.allowed_tools.tools")
        allowed = {name: tool for name, tool in tools.items() if name in names}
        word = choice_by_word(tool_choice.allowed_tools.mode, allowed, parallel, "tool_choice.allowed_tools.mode")
        return word, tuple(allowed.values())
    raise BadRequest("tool_choice.type: Input should be 'function' or 'allowed_tools'")


def _legacy_choice(choice: str | wire.Named | None, tools: dict[str, Tool]) -> ToolChoice:
    if isinstance(choice, wire.Named):
        return choice_by_name(choice.name, tools, False, "function_call.name")
    return choice_by_word(choice or "auto", tools, False, "function_call")
