"""`tools` and `tool_choice` → the tools a model sees, how it must use them, and how their calls are told.

Functions, custom tools and the client tools that the API defines reach the model, those of a namespace too. Whatever
nothing here could run is accepted and not shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from antiphon.api.conversation import Tool, ToolChoice
from antiphon.api.errors import BadRequest
from antiphon.surfaces.http.json_body import Name
from antiphon.surfaces.http.validation import complaint, malformed
from antiphon.surfaces.openai.functions import choice_by_name, choice_by_word, function, given
from antiphon.surfaces.responses import wire
from antiphon.surfaces.responses.client_tools import client_tool
from antiphon.surfaces.responses.grammars import expression
from antiphon.surfaces.responses.shapes import Custom, Function, Shape


class Format(msgspec.Struct):
    """What the text for a custom tool must be."""

    type: str
    syntax: str | None = None
    definition: str | None = None


class DeclaredTool(msgspec.Struct):
    """A member of `tools`; which of the fields counts is said by `type`."""

    type: str
    name: Name | None = None
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None
    format: Format | None = None
    tools: list[Raw] | None = None


_tool = msgspec.json.Decoder(DeclaredTool)


class Toolbox(msgspec.Struct, kw_only=True):
    """What a request brings. `tools` are those that the model sees and `shapes` the shapes of their calls, by the names
    that it knows them by; `names` leads there from a namespace and a name; `ignored` names what nobody could run."""

    tools: dict[str, Tool] = {}
    shapes: dict[str, Shape] = {}
    names: dict[tuple[str, str], str] = {}
    ignored: list[str] = []

    def add(self, tool: Tool, shape: Shape, where: str, namespace: str = "") -> None:
        """Put a tool in, under a name that no other tool has."""
        if (namespace, tool.name) in self.names:
            raise BadRequest(f"{where}.name: names must be unique; {tool.name!r} is there twice")
        name = tool.name
        if name in self.tools and namespace:
            name = f"{namespace}__{name}"
        if name in self.tools:
            raise BadRequest(f"{where}.name: names must be unique; {name!r} is there twice")
        self.names[namespace, tool.name] = name
        self.tools[name] = replace(tool, name=name)
        self.shapes[name] = shape

    def known_as(self, name: str, namespace: str | None) -> str:
        """What the model knows a tool by."""
        return self.names.get((namespace or "", name), name)


def toolbox(raws: list[Raw] | None) -> Toolbox:
    """All tools of a request."""
    box = Toolbox()
    placed = [(f"tools.{index}", raw) for index, raw in enumerate(raws or ())]
    declared = [(where, raw, read(raw, where)) for where, raw in placed]
    # A tool of a namespace gives way to one that has no other name.
    for where, raw, told in sorted(declared, key=lambda each: each[2].type == "namespace"):
        _put(box, told, raw, where)
    return box


def read(raw: Raw, where: str) -> DeclaredTool:
    """A tool as the client wrote it."""
    try:
        return _tool.decode(raw)
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), where)) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None


def _put(box: Toolbox, told: DeclaredTool, raw: Raw, where: str, namespace: str = "") -> None:
    match told.type:
        case "function":
            box.add(_function(told, where), Function(_named(told, where), namespace), where, namespace)
        case "custom":
            pattern = _pattern(box, told.format, f"{where}.format")
            box.add(custom(told, pattern, where), Custom(_named(told, where), namespace), where, namespace)
        case "namespace" if not namespace:
            for index, each in enumerate(told.tools or ()):
                at = f"{where}.tools.{index}"
                _put(box, read(each, at), each, at, _named(told, where))
        case kind:
            found = client_tool(kind, wire.value(raw, where))
            if found is None:
                box.ignored.append(f"tools.{kind}")
            else:
                box.add(*found, where)


def _named(told: DeclaredTool, where: str) -> str:
    if told.name is None:
        raise BadRequest(f"{where}.name: Field required")
    return told.name


def _function(told: DeclaredTool, where: str) -> Tool:
    return function(_named(told, where), told.description, given(told.parameters), told.strict, where)


def _pattern(box: Toolbox, format: Format | None, where: str) -> str | None:
    """The expression that a custom tool's text must match."""
    if format is None or format.type == "text":
        return None
    if format.type != "grammar":
        raise BadRequest(f"{where}.type: Input should be 'text' or 'grammar'")
    pattern = expression(format.syntax, format.definition, where)
    if pattern is None:
        box.ignored.append(where)
    return pattern


def custom(told: DeclaredTool, pattern: str | None, where: str) -> Tool:
    """A tool that takes free text, which must match the pattern."""
    text: dict[str, Any] = {"type": "string", "description": "The text that the tool is given, as it is."}
    if pattern is not None:
        text["pattern"] = pattern
    schema = {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}
    named = function(_named(told, where), told.description, b"", None, where)
    return replace(named, schema=schema)


def choice(told: str | wire.ToolChoice | None, box: Toolbox, parallel: bool) -> tuple[ToolChoice, tuple[Tool, ...]]:
    """How tools must be used, and which of them may be."""
    shown = tuple(box.tools.values())
    if told is None or isinstance(told, str):
        return choice_by_word(told or "auto", box.tools, parallel, "tool_choice"), shown
    match told.type:
        case "function" | "custom":
            if told.name is None:
                raise BadRequest("tool_choice.name: Field required")
            name = box.known_as(told.name, None)
            return choice_by_name(name, box.tools, parallel, "tool_choice.name"), shown
        case "allowed_tools":
            allowed = {name: box.tools[name] for name in _allowed(told, box)}
            word = choice_by_word(told.mode or "auto", allowed, parallel, "tool_choice.mode")
            # What the prompt says of the others stays, and with it the prompt's beginning.
            return word, tuple(replace(tool, withdrawn=tool.name not in allowed) for tool in shown)
        case kind if kind in box.tools:
            # The tools that the API defines are called by the names of their types.
            return choice_by_name(kind, box.tools, parallel, "tool_choice.type"), shown
        case kind if f"tools.{kind}" in box.ignored:
            return ToolChoice(parallel=parallel), shown
        case _:
            raise BadRequest(
                "tool_choice.type: Input should be 'function', 'custom', 'allowed_tools' or the type of a declared tool"
            )


def _allowed(told: wire.ToolChoice, box: Toolbox) -> Iterator[str]:
    for index, each in enumerate(told.tools or ()):
        name, kind = each.get("name"), each.get("type")
        known = box.known_as(name, None) if isinstance(name, str) else str(kind)
        if known in box.tools:
            yield known
        elif f"tools.{kind}" not in box.ignored:
            raise BadRequest(f"tool_choice.tools.{index}: Tool '{name or kind}' not found in provided tools")
