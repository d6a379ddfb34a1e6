"""`tools` → the tools a model sees, and how their calls are told.

Functions, custom tools and the client tools that the API defines reach the model, those of a namespace too. Whatever
nothing here could run is accepted and not shown.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from antiphon.api.conversation import Tool
from antiphon.api.errors import BadRequest
from antiphon.server_tools import history
from antiphon.server_tools.registry import ServerTools
from antiphon.server_tools.tool import Declared
from antiphon.surfaces.http.json_body import Name
from antiphon.surfaces.http.validation import complaint, malformed
from antiphon.surfaces.openai.free_text import Format, custom_tool
from antiphon.surfaces.openai.functions import function, raw_bytes
from antiphon.surfaces.responses.request import wire
from antiphon.surfaces.responses.tools.approvals import Guarded
from antiphon.surfaces.responses.tools.client_tools import client_tool
from antiphon.surfaces.responses.tools.server_declarations import McpServer, declare
from antiphon.surfaces.responses.tools.shapes import Custom, Function, Shape


class DeclaredTool(msgspec.Struct):
    """A member of `tools`; which of the fields counts is said by `type`."""

    type: str
    name: Name | None = None
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None
    format: Format | None = None
    tools: list[Raw] | None = None
    defer_loading: bool | None = None


_tool = msgspec.json.Decoder(DeclaredTool)
# As in `web_search_preview_2025_03_11` and `computer_use_preview`.
_VERSION = re.compile(r"(_use)?(_preview)?(_\d{4}_\d\d_\d\d)?$")


class Toolbox(msgspec.Struct, kw_only=True):
    """What a request brings. `tools` are those that the prompt begins with, `deferred` those that the conversation may
    still bring up, `later` those that it did; `served` are those that run here, and `shapes` the shapes of the calls
    of all others, by the names that the model knows tools by; `names` leads there from a namespace and a name. A search
    is made among the `searchable`, whose `definitions` are kept as the client wrote them. `servers` are MCP servers
    that must be asked for their tools, and `lists` what they told for the first time in the conversation. The client
    approves calls of `guarded` tools. `typed` are the names of the tools that a declaration without a name brought, by
    its type. `ignored` names what nobody could run."""

    tools: dict[str, Tool] = {}
    deferred: dict[str, Tool] = {}
    later: dict[str, Tool] = {}
    served: dict[str, Declared] = {}
    shapes: dict[str, Shape] = {}
    names: dict[tuple[str, str], str] = {}
    searchable: dict[str, Tool] = {}
    definitions: dict[str, Raw] = {}
    servers: list[McpServer] = []
    lists: dict[str, list[Declared]] = {}
    guarded: dict[str, Declared] = {}
    typed: dict[str, list[str]] = {}
    ignored: list[str] = []

    def add(self, tool: Tool, shape: Shape, where: str, namespace: str = "", *, deferred: bool = False) -> Tool:
        """Put a tool in, under a name that no other tool has; the tool as the model knows it."""
        name = tool.name
        if name in self and namespace:
            name = f"{namespace}__{name}"
        if (namespace, tool.name) in self.names or name in self:
            raise BadRequest(f"{where}.name: names must be unique; {tool.name!r} is there twice")
        self.names[namespace, tool.name] = name
        self.shapes[name] = shape
        return self._declare(replace(tool, name=name), deferred=deferred)

    def serve(self, declared: Declared, where: str) -> None:
        """Put a tool in that runs here."""
        name = declared.tool.name
        if name in self:
            raise BadRequest(f"{where}.name: names must be unique; {name!r} is there twice")
        self.served[name] = declared
        self._declare(declared.tool, deferred=declared.deferred)

    def guard(self, declared: Declared) -> None:
        """Put a tool in whose calls are run here once they are approved."""
        name = declared.tool.name
        self.guarded[name] = declared
        self.shapes[name] = Guarded(declared.use["server_name"], declared.use["name"])
        self._declare(declared.tool, deferred=declared.deferred)

    @property
    def runnable(self) -> dict[str, Declared]:
        """The tools that run here, with those whose calls the client approves."""
        return {**self.served, **self.guarded}

    def known_on(self, server: str, name: str) -> str:
        """What the model knows a tool of an MCP server by."""
        uses = {(each.use.get("server_name"), each.use["name"]): known for known, each in self.runnable.items()}
        return uses.get((server, name), name)

    def on_server(self, server: str | None, name: str | None) -> list[str]:
        """What the model knows the tools of an MCP server by, or the one with this name."""
        return [
            known
            for known, each in self.runnable.items()
            if each.use.get("server_name") == server and name in (None, each.use["name"]) and known in self.tools
        ]

    def of_type(self, kind: str) -> list[str]:
        """What the model knows the tools by that were declared by their type, in whichever version."""
        return self.typed.get(_family(kind), [])

    def left_out(self, kind: str) -> bool:
        """Whether nobody could run a tool that was declared by this type."""
        return any(_family(each) == f"tools.{_family(kind)}" for each in self.ignored)

    def reveal(self, name: str) -> Tool | None:
        """The conversation brought a tool up: the tool, where it is the first to do so."""
        if name not in self.deferred:
            return None
        self.later[name] = replace(self.deferred.pop(name), in_turns=True)
        return self.later[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tools or name in self.deferred or name in self.later

    def _declare(self, tool: Tool, *, deferred: bool) -> Tool:
        (self.deferred if deferred else self.tools)[tool.name] = tool
        if deferred:
            self.searchable[tool.name] = tool
        return tool

    def known_as(self, name: str, namespace: str | None) -> str:
        """What the model knows a tool by."""
        return self.names.get((namespace or "", name), name)


def toolbox(raws: list[Raw] | None, offered: ServerTools) -> Toolbox:
    """All tools of a request, with those of the `offered` server tools that it declares."""
    box = Toolbox()
    placed = [(f"tools.{index}", raw) for index, raw in enumerate(raws or ())]
    declared = [(where, raw, read(raw, where)) for where, raw in placed]
    # A tool of a namespace gives way to one that has no other name.
    for where, raw, tool in sorted(declared, key=lambda each: each[2].type == "namespace"):
        _add_declared(box, tool, raw, where, offered)
    if box.deferred and not any(tool.type == "tool_search" for _, _, tool in declared):
        # Without a search nothing could bring them up.
        box.tools |= box.deferred
        box.deferred.clear()
    return box


def bring(box: Toolbox, raws: list[Raw], where: str) -> list[Tool]:
    """The tools that the conversation brings up: those that it declares there, and those that were declared before."""
    tools = []
    for index, raw in enumerate(raws):
        path = f"{where}.{index}"
        declared = read(raw, path)
        known = [box.known_as(declared.name, None)] if declared.name and declared.type != "namespace" else []
        if not any(name in box for name in known):
            before = set(box.deferred)
            _add_declared(box, declared, raw, path, ServerTools(), late=True)
            known = [name for name in box.deferred if name not in before]
        tools += [tool for name in known if (tool := box.reveal(name)) is not None]
    return tools


def wire_names(box: Toolbox) -> history.Names:
    """What the model knows the tools by that run here, by their names on the wire and those of their servers."""
    return {
        (str(each.use.get("name")), str(each.use.get("server_name", ""))): name for name, each in box.runnable.items()
    }


def read(raw: Raw, where: str) -> DeclaredTool:
    """A tool as the client wrote it."""
    try:
        return _tool.decode(raw)
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), where)) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None


def _add_declared(
    box: Toolbox,
    declared: DeclaredTool,
    raw: Raw,
    where: str,
    offered: ServerTools,
    namespace: str = "",
    *,
    late: bool = False,
) -> None:
    """Put a declared tool in, in `late` cases for the conversation to bring up."""
    deferred = late or declared.defer_loading is True
    match declared.type:
        case "function":
            shape = Function(_named(declared, where), namespace)
            tool = box.add(_function(declared, where), shape, where, namespace, deferred=deferred)
            box.definitions[tool.name] = Raw(msgspec.json.format(bytes(raw), indent=-1))
        case "custom":
            name = _named(declared, where)
            taking = custom_tool(name, declared.description, declared.format, where, box.ignored)
            tool = box.add(taking, Custom(name, namespace), where, namespace, deferred=deferred)
            box.definitions[tool.name] = Raw(msgspec.json.format(bytes(raw), indent=-1))
        case "namespace" if not namespace:
            for index, each in enumerate(declared.tools or ()):
                path = f"{where}.tools.{index}"
                _add_declared(box, read(each, path), each, path, offered, _named(declared, where), late=late)
        case kind:
            settings, before = wire.value(raw, where), set(box.tools)
            builtin = client_tool(kind, settings)
            if builtin is not None:
                box.add(*builtin, where, deferred=late)
            elif not declare(box, offered, kind, settings, where):
                box.ignored.append(f"tools.{kind}")
            box.typed.setdefault(_family(kind), []).extend(name for name in box.tools if name not in before)


def _family(kind: str) -> str:
    """What all versions of a type have in common."""
    return _VERSION.sub("", kind)


def _named(declared: DeclaredTool, where: str) -> str:
    if declared.name is None:
        raise BadRequest(f"{where}.name: Field required")
    return declared.name


def _function(declared: DeclaredTool, where: str) -> Tool:
    return function(
        _named(declared, where), declared.description, raw_bytes(declared.parameters), declared.strict, where
    )
