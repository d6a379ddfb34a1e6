"""Tools whose schema the API defines and the client does not send: bash, text editor, memory, computer, toolsets.

The model behind this server has not been taught them, so each gets the schema and the description that a client
of the API expects calls to follow. A dated type that is not listed gets the newest of its family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from antiphon.api.conversation import Tool
from antiphon.prompt.toolsets import BROWSER, COMPUTER

Schema = dict[str, Any]


def known(kind: str, settings: Mapping[str, Any]) -> list[Tool] | None:
    """The tools behind an Anthropic-defined type, or None when the type is of no family that is known here."""
    for family, build in _FAMILIES:
        if kind.startswith(family):
            return build(kind, settings)
    return None


def toolset(kind: str) -> str | None:
    """The name of the toolset a type stands for, if it is one."""
    for family, name in (("computer_toolset_", "computer"), ("browser_toolset_", "browser")):
        if kind.startswith(family):
            return name
    return None


def _schema(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


def _branches(key: str, commands: Mapping[str, Sequence[str]]) -> list[Schema]:
    """A branch for each command (the value of the property `key`), with the properties that it cannot do without."""
    return [
        {"properties": {key: {"const": command}}, "required": [key, *needed]} for command, needed in commands.items()
    ]


def _string(description: str, *values: str) -> Schema:
    return {"type": "string", **({"enum": list(values)} if values else {}), "description": description}


def _integer(description: str, minimum: int = 0) -> Schema:
    return {"type": "integer", "minimum": minimum, "description": description}


def _integers(count: int, description: str) -> Schema:
    return {
        "type": "array",
        "items": {"type": "integer"},
        "minItems": count,
        "maxItems": count,
        "description": description,
    }


def _bash(kind: str, settings: Mapping[str, Any]) -> list[Tool]:
    schema = _schema(
        [],
        command=_string("The bash command to run. Required unless the tool is being restarted."),
        restart={"type": "boolean", "description": "Set to true to restart the shell; leave out otherwise."},
    )
    description = (
        "Runs commands in a bash shell and returns what they print. The state of the shell (directory, variables) is "
        "kept between calls. Commands cannot ask for input."
    )
    schema["anyOf"] = [{"required": ["command"]}, {"properties": {"restart": {"const": True}}, "required": ["restart"]}]
    return [Tool(name="bash", description=description, schema=schema)]


def _text_editor(kind: str, settings: Mapping[str, Any]) -> list[Tool]:
    old = kind in ("text_editor_20241022", "text_editor_20250124")
    inserted = "new_str" if old else "insert_text"
    commands = {
        "view": ["path"],
        "create": ["path", "file_text"],
        "str_replace": ["path", "old_str"],
        "insert": ["path", "insert_line", inserted],
        **({"undo_edit": ["path"]} if old else {}),
    }
    properties = {
        "command": _string("What to do.", *commands),
        "path": _string("Absolute path of a file or directory."),
        "view_range": _integers(2, "For view: first and last line to show; -1 as the last means to the end."),
        "file_text": _string("For create: the whole text of the new file."),
        "old_str": _string("For str_replace: the text to replace. It must occur exactly once."),
        "new_str": _string(
            "For str_replace: the text that takes its place." + (" For insert: the new text." if old else "")
        ),
        "insert_line": _integer("For insert: the line after which the text goes; 0 is the top of the file."),
    }
    if not old:
        properties[inserted] = _string("For insert: the text to insert.")
    description = "Views, creates and edits text files. Directories can be viewed, too."
    limit = settings.get("max_characters")
    if isinstance(limit, int):
        description += f" Views are cut after {limit} characters."
    name = "str_replace_editor" if old else "str_replace_based_edit_tool"
    schema = _schema(["command", "path"], **properties)
    schema["anyOf"] = _branches("command", commands)
    return [Tool(name=name, description=description, schema=schema)]


_MEMORY = {
    "view": ["path"],
    "create": ["path", "file_text"],
    "str_replace": ["path", "old_str"],
    "insert": ["path", "insert_line", "insert_text"],
    "delete": ["path"],
    "rename": ["old_path", "new_path"],
}


def _memory(kind: str, settings: Mapping[str, Any]) -> list[Tool]:
    schema = _schema(
        ["command"],
        command=_string("What to do.", *_MEMORY),
        path=_string("Path below /memories. For every command but rename."),
        view_range=_integers(2, "For view: first and last line to show."),
        file_text=_string("For create: the whole text of the file."),
        old_str=_string("For str_replace: the text to replace."),
        new_str=_string("For str_replace: the text that takes its place."),
        insert_line=_integer("For insert: the line after which the text goes; 0 is the top of the file."),
        insert_text=_string("For insert: the text to insert."),
        old_path=_string("For rename: the present path."),
        new_path=_string("For rename: the new path."),
    )
    description = (
        "Keeps notes in files below /memories, which last between conversations. View /memories before starting a "
        "task; write down what will be worth knowing later."
    )
    schema["anyOf"] = _branches("command", _MEMORY)
    return [Tool(name="memory", description=description, schema=schema)]


_ACTIONS_2024 = (
    "key", "type", "mouse_move", "left_click", "left_click_drag", "right_click", "middle_click", "double_click",
    "screenshot", "cursor_position",
)  # fmt: skip
_ACTIONS_2025 = ("left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait", "triple_click")


_NEEDED = {
    "key": ["text"],
    "type": ["text"],
    "mouse_move": ["coordinate"],
    "left_click_drag": ["coordinate"],
    "scroll": ["scroll_direction", "scroll_amount"],
    "hold_key": ["text", "duration"],
    "wait": ["duration"],
    "zoom": ["region"],
}


def _computer(kind: str, settings: Mapping[str, Any]) -> list[Tool]:
    actions = [*_ACTIONS_2024]
    properties = {
        "action": _string("What to do."),
        "coordinate": _integers(2, "Where, as [x, y] in pixels from the left and from the top."),
        "start_coordinate": _integers(2, "For left_click_drag: where the drag starts."),
        "text": _string("For type: the text. For key and hold_key: the keys, such as ctrl+s. For clicks: keys held."),
    }
    if kind != "computer_20241022":
        actions += _ACTIONS_2025
        properties["scroll_direction"] = _string("For scroll.", "up", "down", "left", "right")
        properties["scroll_amount"] = _integer("For scroll: the number of clicks of the wheel.")
        properties["duration"] = {"type": "number", "minimum": 0, "description": "For hold_key and wait: seconds."}
    if kind not in ("computer_20241022", "computer_20250124") and settings.get("enable_zoom") is not False:
        actions.append("zoom")
        properties["region"] = _integers(4, "For zoom: the part of the screen to look at, as [x1, y1, x2, y2].")
    properties["action"]["enum"] = actions
    width, height = settings.get("display_width_px"), settings.get("display_height_px")
    description = "Uses a computer by its screen, mouse and keyboard. Take a screenshot to see where to click."
    if isinstance(width, int) and isinstance(height, int):
        description += f" The screen is {width} pixels wide and {height} pixels high."
    schema = _schema(["action"], **properties)
    schema["anyOf"] = _branches("action", {action: _NEEDED.get(action, []) for action in actions})
    return [Tool(name="computer", description=description, schema=schema)]


def _members(table: Mapping[str, tuple[str, Schema]], settings: Mapping[str, Any]) -> list[Tool]:
    configs = settings.get("configs")
    configs = configs if isinstance(configs, Mapping) else {}
    tools = []
    for name, (description, schema) in table.items():
        config = configs.get(name)
        if isinstance(config, Mapping) and config.get("enabled") is False:
            continue
        tools.append(Tool(name=name, description=description, schema=schema))
    return tools


_Build = Callable[[str, Mapping[str, Any]], list[Tool]]

# The first match counts: a toolset's type begins with the name of the single tool.
_FAMILIES: tuple[tuple[str, _Build], ...] = (
    ("bash_", _bash),
    ("text_editor_", _text_editor),
    ("memory_", _memory),
    ("computer_toolset_", lambda kind, settings: _members(COMPUTER, settings)),
    ("browser_toolset_", lambda kind, settings: _members(BROWSER, settings)),
    ("computer_", _computer),
)
