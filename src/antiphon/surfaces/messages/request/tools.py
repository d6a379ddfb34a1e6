"""`tools` and `tool_choice` → the tools a model sees and how it must use them.

Custom tools and the client tools whose schema the API defines reach the model, and so do server tools that are set up
here. Other server tools are accepted and not shown, for nothing here could run them. Deferred tools stay out until
something in the conversation refers to them, and then are told of at that place: what the prompt begins with never
changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from antiphon.api.conversation import Tool, ToolChoice
from antiphon.api.errors import BadRequest
from antiphon.prompt.known_tools import known, toolset
from antiphon.server_tools.registry import ServerTools, direct
from antiphon.server_tools.tool import Declared
from antiphon.surfaces.content.schemas import checked_schema
from antiphon.surfaces.http.validation import complaint, malformed
from antiphon.surfaces.messages.request import wire

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
_INVALID = (
    "JSON schema is invalid. It must match JSON Schema draft 2020-12 "
    "(https://json-schema.org/draft/2020-12). Learn more about tool use at "
    "https://docs.claude.com/en/docs/tool-use."
)


class Custom(msgspec.Struct):
    """The fields of a tool that matter here."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: Raw | msgspec.UnsetType = msgspec.UNSET
    strict: bool | None = None
    defer_loading: bool | None = None
    input_examples: Raw | msgspec.UnsetType = msgspec.UNSET
    allowed_callers: Any = None


_custom = msgspec.json.Decoder(Custom)


class Toolbox(msgspec.Struct, kw_only=True):
    """What a request brings: tools by the names the model knows them by; `served` are those that run here, `server`
    the server tools that nothing here runs, name → type; members of toolsets, name → (member, toolset). The prompt
    begins with the `first` tools, of which some may be `withdrawn`; the `later` ones came up in the conversation.
    `introductions` are all that ever did, in that order, by name; `searchable` all that were declared as deferred;
    `asking` the declarations behind which others have to be asked what there is."""

    first: dict[str, Tool] = {}
    later: dict[str, Tool] = {}
    withdrawn: set[str] = set()
    deferred: dict[str, Tool] = {}
    introductions: dict[str, list[Tool]] = {}
    searchable: dict[str, Tool] = {}
    served: dict[str, Declared] = {}
    asking: list[tuple[str, dict[str, Any]]] = []
    server: dict[str, str] = {}
    members: dict[str, tuple[str, str]] = {}
    ignored: list[str] = []

    @property
    def callable(self) -> set[str]:
        """The names of the tools that may be called."""
        return (self.first.keys() - self.withdrawn) | self.later.keys()

    def all(self) -> tuple[Tool, ...]:
        """What the prompt begins with, and what came up later."""
        first = (msgspec.structs.replace(tool, withdrawn=name in self.withdrawn) for name, tool in self.first.items())
        return (*first, *(msgspec.structs.replace(tool, in_turns=True) for tool in self.later.values()))

    def show_all(self) -> None:
        """Have the prompt begin with the deferred tools too."""
        self.first.update(self.deferred)
        self.deferred.clear()

    def reveal(self, name: str) -> None:
        """The conversation referred to a tool."""
        if name in self.deferred:
            self.later[name] = self.deferred.pop(name)
            self.introductions.setdefault(name, []).append(self.later[name])
        elif name not in self.later:
            self.withdrawn.discard(name)

    def bring(self, brought: Toolbox) -> None:
        """The conversation brought tools of its own, which take the place of any others of their names."""
        for name, tool in (brought.first | brought.deferred).items():
            self.conceal(name)
            for others in (self.deferred, self.served, self.server, self.members):
                others.pop(name, None)
            self.later[name] = tool
            self.introductions.setdefault(name, []).append(tool)
        self.served |= brought.served
        self.server |= brought.server
        self.members |= brought.members
        self.ignored += brought.ignored

    def conceal(self, name: str) -> None:
        """Take a tool away that the conversation removed."""
        if name in self.later:
            self.deferred[name] = self.later.pop(name)
        elif name in self.first:
            self.withdrawn.add(name)

    def add(self, tool: Tool, where: str, *, deferred: bool = False) -> None:
        """Put a tool in. Names are unique among all of them."""
        if tool.name in self:
            raise BadRequest("tools: Tool names must be unique.")
        (self.deferred if deferred else self.first)[tool.name] = tool
        if deferred:
            self.searchable[tool.name] = tool

    def serve(self, declared: Declared, where: str) -> None:
        """Put a tool in that runs here."""
        self.add(declared.tool, where, deferred=declared.deferred)
        self.served[declared.tool.name] = declared

    def names(self) -> set[str]:
        """The names of all tools."""
        return {*self.first, *self.later, *self.deferred, *self.server}

    def __contains__(self, name: str) -> bool:
        return name in self.first or name in self.later or name in self.deferred or name in self.server


def toolbox(raws: list[Raw] | None, offered: ServerTools) -> Toolbox:
    """All tools of a request, with those of the `offered` server tools that it declares."""
    box = Toolbox()
    for index, raw in enumerate(raws or ()):
        _put(box, raw, f"tools.{index}", offered)
    if any(kind.startswith("tool_search_tool_") for kind in box.server.values()):
        # Whoever leaves the search to the server could never reach a tool that the server does not search for.
        box.show_all()
    return box


def read(raw: Raw, where: str) -> Custom:
    """A tool as the client wrote it."""
    try:
        return _custom.decode(raw)
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), f"{where}.custom")) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None


def named(kind: str, fields: dict[str, Any]) -> str:
    """The name of the tool that a block refers to; results and changes of tools have it under different keys."""
    tool = fields.get("tool")
    referred = tool if kind != "tool_reference" and isinstance(tool, dict) else fields
    referred = definition if isinstance(definition := referred.get("definition"), dict) else referred
    return str(referred.get("tool_name") or referred.get("name") or "")


def refers(fields: dict[str, Any]) -> bool:
    """Whether a change of tools refers to one that must have been declared, not to one of an MCP server."""
    tool = fields.get("tool")
    return isinstance(tool, dict) and tool.get("type") == "tool_reference"


def _put(box: Toolbox, raw: Raw, where: str, offered: ServerTools) -> None:
    entry = read(raw, where)
    kind = entry.type
    if kind is None or kind == "custom" or (entry.input_schema is not msgspec.UNSET and entry.name):
        tool = custom(entry, f"{where}.custom")
        if direct(entry.allowed_callers):
            box.add(tool, where, deferred=bool(entry.defer_loading))
        else:
            box.ignored.append(f"tools.{tool.name}.allowed_callers")
        return
    settings = wire.value(raw, where)
    if offered.asks(kind):
        box.asking.append((where, settings))
        return
    served = offered.declare(kind, settings, where)
    if served is not None:
        for declared in served:
            box.serve(declared, where)
        return
    tools = known(kind, settings)
    if tools is None:
        name = entry.name or kind
        if name in box:
            if entry.name:
                raise BadRequest("tools: Tool names must be unique.")
            # An `mcp_toolset` has no name of its own, and there is one for each server.
            name = f"{kind} ({where})"
        box.server[name] = kind
        box.ignored.append(f"tools.{kind}")
        return
    _put_known(box, kind, settings, tools, entry, where)


def _put_known(box: Toolbox, kind: str, settings: dict[str, Any], tools: list[Tool], entry: Custom, where: str) -> None:
    family = toolset(kind)
    configs = settings.get("configs") if family else None
    for tool in tools:
        deferred = entry.defer_loading
        if family:
            config = configs.get(tool.name) if isinstance(configs, dict) else None
            deferred = isinstance(config, dict) and config.get("defer_loading") is True
            name = tool.name
            if name in box:
                name = f"{family}_{tool.name}"
            box.members[name] = (tool.name, family)
            tool = msgspec.structs.replace(tool, name=name)
        elif entry.strict is not None:
            tool = msgspec.structs.replace(tool, strict=entry.strict)
        box.add(tool, where, deferred=bool(deferred))


def custom(entry: Custom, where: str) -> Tool:
    """A tool that the client describes itself."""
    if entry.name is None:
        raise BadRequest(f"{where}.name: Field required")
    if not _NAME.match(entry.name):
        raise BadRequest(f"{where}.name: String should match pattern '{_NAME.pattern}'")
    if isinstance(entry.input_schema, msgspec.UnsetType):
        raise BadRequest(f"{where}.input_schema: Field required")
    schema = checked_schema(bytes(entry.input_schema), f"{where}.input_schema", _INVALID)
    if schema.get("type") != "object":
        what = "Input should be 'object'" if "type" in schema else "Field required"
        raise BadRequest(f"{where}.input_schema.type: {what}")
    description = entry.description or ""
    if not isinstance(entry.input_examples, msgspec.UnsetType) and bytes(entry.input_examples) not in (
        b"[]",
        b"null",
    ):
        description += f"\n\nExamples of input: {bytes(entry.input_examples).decode()}"
    return Tool(name=entry.name, description=description, schema=schema, strict=entry.strict)


def references(block: wire.AnyBlock, *, nested: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a block says of tools that come and go, each with its type and fields; also what is `nested` in a result."""
    if isinstance(block, wire.ToolResult):
        for _, inner in wire.listed(block.content if nested else None, ""):
            if isinstance(inner, wire.Other):
                yield inner.type, inner.fields
    elif isinstance(block, wire.Other):
        yield block.type, block.fields
        content = block.fields.get("content")
        found = content.get("tool_references") if isinstance(content, dict) else None
        for each in found if isinstance(found, list) else ():
            if isinstance(each, dict):
                yield "tool_reference", each


def brought(fields: dict[str, Any], where: str, offered: ServerTools) -> Toolbox | None:
    """What a `tool_addition` defines itself, as an entry of `tools` would, if it does."""
    tool = fields.get("tool")
    definition = tool.get("definition") if isinstance(tool, dict) else None
    if not isinstance(definition, dict):
        return None
    place = f"{where}.tool_addition.tool.definition"
    box = Toolbox()
    _put(box, msgspec.Raw(msgspec.json.encode(definition)), place, offered)
    if box.asking:
        raise BadRequest(f"{place}: an `mcp_toolset` cannot be defined in the conversation; put it into `tools`")
    return box


def choice(tool_choice: wire.ToolChoice | None, box: Toolbox) -> ToolChoice:
    """How tools must be used. A forced server tool is not judged here."""
    if tool_choice is None:
        return ToolChoice()
    parallel = not tool_choice.disable_parallel_tool_use
    match tool_choice.type:
        case "auto":
            return ToolChoice(mode="auto", parallel=parallel)
        case "none":
            return ToolChoice(mode="none")
        case "any" | "tool":
            if not (box.callable or box.deferred or box.server):
                raise BadRequest("tool_choice: may only be specified while providing tools.")
            if tool_choice.type == "any":
                if not box.callable:
                    box.show_all()
                return ToolChoice(mode="any", parallel=parallel)
            if tool_choice.name is None:
                raise BadRequest("tool_choice.tool.name: Field required")
            box.reveal(tool_choice.name)
            if tool_choice.name not in box.callable and tool_choice.name not in box.server:
                raise BadRequest(f"Tool '{tool_choice.name}' not found in provided tools")
            return ToolChoice(mode="tool", name=tool_choice.name, parallel=parallel)
        case other:
            raise BadRequest(
                f"tool_choice: Input tag '{other[:60]}' found using 'type' does not match any of the expected tags: "
                "'any', 'auto', 'none', 'tool'"
            )
