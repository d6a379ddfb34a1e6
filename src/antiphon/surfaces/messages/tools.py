"""`tools` and `tool_choice` → the tools a model sees and how it must use them.

Custom tools and the client tools whose schema the API defines reach the model. Server tools are accepted and not
shown, for nothing here could run them. Deferred tools stay out until something in the conversation refers to
them, and then come last, so that what stood before keeps its place in the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from antiphon.conversation import Tool, ToolChoice
from antiphon.errors import BadRequest
from antiphon.prompt.known_tools import known, toolset
from antiphon.surfaces.complaints import complaint, malformed
from antiphon.surfaces.messages import wire
from antiphon.surfaces.schemas import checked_schema

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


_custom = msgspec.json.Decoder(Custom)


class Toolbox(msgspec.Struct, kw_only=True):
    """What a request brings: tools by the names the model knows them by; server tools, name → type; members of
    toolsets, name → (member, toolset)."""

    shown: dict[str, Tool] = {}
    deferred: dict[str, Tool] = {}
    server: dict[str, str] = {}
    members: dict[str, tuple[str, str]] = {}
    ignored: list[str] = []

    def reveal(self, names: Iterable[str]) -> None:
        """Show deferred tools, in the order in which they were referred to."""
        for name in names:
            if name in self.deferred:
                self.shown[name] = self.deferred.pop(name)

    def conceal(self, name: str) -> None:
        """Take a tool away that the conversation removed."""
        tool = self.shown.pop(name, None)
        if tool is not None:
            self.deferred[name] = tool

    def add(self, tool: Tool, where: str, *, deferred: bool = False) -> None:
        """Put a tool in. Names are unique among all of them."""
        if tool.name in self.shown or tool.name in self.deferred or tool.name in self.server:
            raise BadRequest("tools: Tool names must be unique.")
        (self.deferred if deferred else self.shown)[tool.name] = tool


def toolbox(raws: list[Raw] | None) -> Toolbox:
    """All tools of a request."""
    box = Toolbox()
    for index, raw in enumerate(raws or ()):
        _put(box, raw, f"tools.{index}")
    if any(kind.startswith("tool_search_tool_") for kind in box.server.values()):
        # Whoever leaves the search to the server could never reach a tool that the server does not search for.
        box.reveal(list(box.deferred))
    return box


def read(raw: Raw, where: str) -> Custom:
    """A tool as the client wrote it."""
    try:
        return _custom.decode(raw)
    except msgspec.ValidationError as trouble:
        raise BadRequest(complaint(str(trouble), f"{where}.custom")) from None
    except (msgspec.DecodeError, RecursionError, ValueError) as trouble:
        raise BadRequest(f"{where}: {malformed(trouble, bytes(raw))}") from None


def _put(box: Toolbox, raw: Raw, where: str) -> None:
    told = read(raw, where)
    kind = told.type
    if kind is None or kind == "custom" or (told.input_schema is not msgspec.UNSET and told.name):
        box.add(custom(told, f"{where}.custom"), where, deferred=bool(told.defer_loading))
        return
    settings = wire.value(raw, where)
    tools = known(kind, settings)
    if tools is None:
        name = told.name or kind
        if name in box.server or name in box.shown or name in box.deferred:
            raise BadRequest("tools: Tool names must be unique.")
        box.server[name] = kind
        box.ignored.append(f"tools.{kind}")
        return
    _put_known(box, kind, settings, tools, told, where)


def _put_known(box: Toolbox, kind: str, settings: dict[str, Any], tools: list[Tool], told: Custom, where: str) -> None:
    family = toolset(kind)
    configs = settings.get("configs") if family else None
    for tool in tools:
        deferred = told.defer_loading
        if family:
            config = configs.get(tool.name) if isinstance(configs, dict) else None
            deferred = isinstance(config, dict) and config.get("defer_loading") is True
            name = tool.name
            if name in box.shown or name in box.deferred or name in box.server:
                name = f"{family}_{tool.name}"
            box.members[name] = (tool.name, family)
            tool = msgspec.structs.replace(tool, name=name)
        elif told.strict:
            tool = msgspec.structs.replace(tool, strict=True)
        box.add(tool, where, deferred=bool(deferred))


def custom(told: Custom, where: str) -> Tool:
    """A tool that the client describes itself."""
    if told.name is None:
        raise BadRequest(f"{where}.name: Field required")
    if not _NAME.match(told.name):
        raise BadRequest(f"{where}.name: String should match pattern '{_NAME.pattern}'")
    if isinstance(told.input_schema, msgspec.UnsetType):
        raise BadRequest(f"{where}.input_schema: Field required")
    schema = checked_schema(bytes(told.input_schema), f"{where}.input_schema", _INVALID)
    if schema.get("type") != "object":
        what = "Input should be 'object'" if "type" in schema else "Field required"
        raise BadRequest(f"{where}.input_schema.type: {what}")
    description = told.description or ""
    if not isinstance(told.input_examples, msgspec.UnsetType) and bytes(told.input_examples) not in (b"[]", b"null"):
        description += f"\n\nExamples of input: {bytes(told.input_examples).decode()}"
    return Tool(name=told.name, description=description, schema=schema, strict=bool(told.strict))


def choice(told: wire.ToolChoice | None, box: Toolbox) -> ToolChoice:
    """How tools must be used. A forced server tool is not judged here."""
    if told is None:
        return ToolChoice()
    parallel = not told.disable_parallel_tool_use
    match told.type:
        case "auto":
            return ToolChoice(mode="auto", parallel=parallel)
        case "none":
            return ToolChoice(mode="none")
        case "any" | "tool":
            if not (box.shown or box.deferred or box.server):
                raise BadRequest("tool_choice: may only be specified while providing tools.")
            if told.type == "any":
                box.reveal(list(box.deferred) if not box.shown else ())
                return ToolChoice(mode="any", parallel=parallel)
            if told.name is None:
                raise BadRequest("tool_choice.tool.name: Field required")
            box.reveal([told.name])
            if told.name not in box.shown and told.name not in box.server:
                raise BadRequest(f"Tool '{told.name}' not found in provided tools")
            return ToolChoice(mode="tool", name=told.name, parallel=parallel)
        case other:
            raise BadRequest(
                f"tool_choice: Input tag '{other[:60]}' found using 'type' does not match any of the expected tags: "
                "'any', 'auto', 'none', 'tool'"
            )
