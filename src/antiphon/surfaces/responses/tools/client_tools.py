"""The tools that a client runs and the API defines: what a model sees of them, and how their calls look.

Descriptions and schemas are our own; the items are the API's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.api.conversation import Tool
from antiphon.surfaces.responses.tools.shapes import Acting, Patch, Shape, Shell

Schema = dict[str, Any]

LOCAL_SHELL = Acting("local_shell_call", "lsh_", "action", more={"type": "exec", "command": [], "env": {}})
SHELL = Shell(
    "shell_call",
    "sh_",
    "action",
    more={"commands": [], "timeout_ms": None, "max_output_length": None},
    beside={"environment": None},
    begun={"commands": []},
)
APPLY_PATCH = Patch(
    "apply_patch_call",
    "apc_",
    "operation",
    more={"type": "update_file", "path": ""},
    begun={"diff": ""},
    cut="in_progress",
)
COMPUTER = Acting("computer_call", "cu_", "actions", beside={"pending_safety_checks": []}, several=True)
COMPUTER_PREVIEW = Acting("computer_call", "cu_", "action", beside={"pending_safety_checks": []})
TOOL_SEARCH = Acting("tool_search_call", "tsc_", "arguments", beside={"execution": "client"})


def client_tool(kind: str, settings: Mapping[str, Any]) -> tuple[Tool, Shape] | None:
    """The tool behind a declaration of a type that the API defines for clients, and the shape of its calls; None for
    every other type."""
    match kind:
        case "local_shell":
            return _LOCAL_SHELL, LOCAL_SHELL
        case "shell" if _is_local(settings.get("environment")):
            return _SHELL, SHELL
        case "apply_patch":
            return _APPLY_PATCH, APPLY_PATCH
        case "computer":
            return _computer(""), COMPUTER
        case "computer_use_preview":
            return _computer(_screen(settings)), COMPUTER_PREVIEW
        case "tool_search" if settings.get("execution") == "client":
            return _search(settings), TOOL_SEARCH
        case _:
            return None


def _is_local(environment: Any) -> bool:
    """Whether commands run where the client is. A container would have to be here."""
    return not isinstance(environment, dict) or environment.get("type") in (None, "local")


def _string(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _integer(description: str) -> Schema:
    return {"type": "integer", "description": description}


def _strings(description: str) -> Schema:
    return {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": description}


def _schema(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_LOCAL_SHELL = Tool(
    name="local_shell",
    description="Runs a command on the user's computer and returns its output.",
    schema=_schema(
        ["command"],
        command=_strings("The program and its arguments; for a shell's own syntax, a shell with -c."),
        working_directory=_string("Where to run it."),
        timeout_ms=_integer("How long it may take, in milliseconds."),
    ),
)
_SHELL = Tool(
    name="shell",
    description="Runs commands in the user's shell, one after another, and returns their output.",
    schema=_schema(
        ["commands"],
        commands=_strings("The commands, each a line for the shell."),
        timeout_ms=_integer("How long they may take, in milliseconds."),
        max_output_length=_integer("How many characters of output to return at most."),
    ),
)
_APPLY_PATCH = Tool(
    name="apply_patch",
    description="Creates, changes or deletes one file. The lines of a diff begin with a space (unchanged), - (taken "
    "away) or + (added); places in the file are marked by lines that begin with @@. To create a file, begin every line "
    "with +.",
    schema={
        **_schema(
            ["type", "path"],
            type=_string("What to do.", enum=["create_file", "update_file", "delete_file"]),
            path=_string("The file."),
            diff=_string("What changes; not where a file is deleted."),
        ),
        "anyOf": [
            {"properties": {"type": {"enum": ["create_file", "update_file"]}}, "required": ["diff"]},
            {"properties": {"type": {"const": "delete_file"}}},
        ],
    },
)
_NEEDED: dict[str, list[str]] = {
    "click": ["button", "x", "y"],
    "double_click": ["x", "y"],
    "drag": ["path"],
    "keypress": ["keys"],
    "move": ["x", "y"],
    "screenshot": [],
    "scroll": ["x", "y", "scroll_x", "scroll_y"],
    "type": ["text"],
    "wait": [],
}


def _computer(screen: str) -> Tool:
    point = _schema(["x", "y"], x={"type": "integer"}, y={"type": "integer"})
    schema = _schema(
        ["type"],
        type=_string("What to do.", enum=list(_NEEDED)),
        x=_integer("Pixels from the left."),
        y=_integer("Pixels from the top."),
        button=_string("For click.", enum=["left", "right", "wheel", "back", "forward"]),
        path={"type": "array", "items": point, "description": "For drag: the points it goes through."},
        keys={"type": "array", "items": {"type": "string"}, "description": "For keypress: the keys, held together."},
        scroll_x=_integer("For scroll: pixels to the right."),
        scroll_y=_integer("For scroll: pixels down."),
        text=_string("For type: the text."),
    )
    schema["anyOf"] = [
        {"properties": {"type": {"const": action}}, "required": needed} for action, needed in _NEEDED.items()
    ]
    description = "Uses a computer by its screen, mouse and keyboard. Take a screenshot to see where to click." + screen
    return Tool(name="computer", description=description, schema=schema)


def _screen(settings: Mapping[str, Any]) -> str:
    width, height = settings.get("display_width"), settings.get("display_height")
    known = isinstance(width, int) and isinstance(height, int)
    return f" The screen is {width} pixels wide and {height} pixels high." if known else ""


def _search(settings: Mapping[str, Any]) -> Tool:
    description, parameters = settings.get("description"), settings.get("parameters")
    usual = _schema(["query"], query=_string("What to look for: a few words."))
    return Tool(
        name="tool_search",
        description=description if isinstance(description, str) and description else "Finds more tools to call.",
        schema=parameters if isinstance(parameters, dict) and parameters.get("type") == "object" else usual,
    )
