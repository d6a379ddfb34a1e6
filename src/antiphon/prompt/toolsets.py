"""The members of the computer and browser toolsets: one tool for each action, with its schema."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
Member = tuple[str, Schema]

_POINT: Schema = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 2,
    "maxItems": 2,
    "description": "A place on the screen, as [x, y] in pixels.",
}
_REGION: Schema = {**_POINT, "minItems": 4, "maxItems": 4, "description": "A part of the screen, as [x1, y1, x2, y2]."}
_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
_SECONDS: Schema = {"type": "number", "minimum": 0, "description": "Seconds."}
_AMOUNT: Schema = {"type": "integer", "minimum": 0}
_DIRECTION: Schema = {"type": "string", "enum": ["up", "down", "left", "right"]}
_TAB: Schema = {"type": "string", "description": "The tab, if not the active one."}
_PLACE: Schema = {
    "type": "object",
    "properties": {"type": {"const": "coordinate"}, "x": {"type": "integer"}, "y": {"type": "integer"}},
    "required": ["type", "x", "y"],
    "description": "A place on the page, in pixels.",
}
_ELEMENT: Schema = {
    "type": "object",
    "properties": {"type": {"const": "ref"}, "ref": {"type": "string"}},
    "required": ["type", "ref"],
    "description": "An element, by the ref that read_page or find told.",
}
_TARGET: Schema = {"anyOf": [_PLACE, _ELEMENT]}
_KEYS: Schema = {"type": "string", "description": "Keys held down meanwhile, such as ctrl+shift."}


def _member(description: str, required: str = "", **properties: Schema) -> Member:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required.split()
    return description, schema


def _in_tab(description: str, required: str = "", **properties: Schema) -> Member:
    return _member(description, required, **properties, tab_id=_TAB)


COMPUTER: dict[str, Member] = {
    "key": _member("Presses a key or a combination, such as ctrl+s.", "text", text=_TEXT, repeat=_AMOUNT),
    "hold_key": _member("Holds a key down for a while.", "text duration", text=_TEXT, duration=_SECONDS),
    "type": _member("Types text.", "text", text=_TEXT),
    "mouse_move": _member("Moves the mouse.", "coordinate", coordinate=_POINT),
    "left_click": _member("Clicks.", coordinate=_POINT, text=_TEXT),
    "right_click": _member("Clicks with the right button.", coordinate=_POINT, text=_TEXT),
    "middle_click": _member("Clicks with the middle button.", coordinate=_POINT, text=_TEXT),
    "double_click": _member("Clicks twice.", coordinate=_POINT, text=_TEXT),
    "triple_click": _member("Clicks three times.", coordinate=_POINT, text=_TEXT),
    "left_click_drag": _member(
        "Drags from one place to another.",
        "start_coordinate coordinate",
        start_coordinate=_POINT,
        coordinate=_POINT,
        text=_TEXT,
    ),
    "left_mouse_down": _member("Presses the left button and keeps it down."),
    "left_mouse_up": _member("Releases the left button."),
    "scroll": _member(
        "Scrolls.",
        "scroll_direction scroll_amount",
        scroll_direction=_DIRECTION,
        scroll_amount=_AMOUNT,
        coordinate=_POINT,
        text=_TEXT,
    ),
    "wait": _member("Waits.", "duration", duration=_SECONDS),
    "zoom": _member("Shows a part of the screen in full resolution.", "region", region=_REGION),
    "cursor_position": _member("Tells where the mouse is."),
    "screenshot": _member("Shows the screen."),
}

BROWSER: dict[str, Member] = {
    "navigate": _in_tab("Goes to an address, or `back`, `forward` or `reload`.", "url", url=_TEXT),
    "list_tabs": _member("Lists the open tabs."),
    "new_tab": _member("Opens a tab."),
    "switch_tab": _member("Makes another tab the active one.", "tab_id", tab_id=_TEXT),
    "close_tab": _member("Closes a tab.", "tab_id", tab_id=_TEXT),
    "read_page": _in_tab(
        "Tells the elements of the page with their refs.",
        filter={"type": "string", "enum": ["all", "interactive"]},
        depth=_AMOUNT,
        ref={"type": "string", "description": "Only what is inside this element."},
    ),
    "get_page_text": _in_tab("Gives the text of the page."),
    "read_console": _in_tab("Gives the messages of the page's console."),
    "read_network": _in_tab("Lists the page's network requests."),
    "find": _in_tab("Finds elements of the page by a description.", "query", query=_TEXT),
    "form_input": _in_tab(
        "Sets the value of a form element; a boolean for checkboxes.",
        "target value",
        target=_ELEMENT,
        value={"type": ["string", "number", "boolean"]},
    ),
    "file_upload": _in_tab(
        "Gives files to a file input.", "target", target=_ELEMENT, paths=_TEXTS, document_ids=_TEXTS
    ),
    "scroll_to": _in_tab("Scrolls until an element is seen.", "target", target=_ELEMENT),
    "screenshot": _in_tab("Shows the page."),
    "zoom": _in_tab("Shows a part of the page in full resolution.", "region", region=_REGION),
    "left_click": _in_tab("Clicks.", "target", target=_TARGET, modifiers=_KEYS),
    "right_click": _in_tab("Clicks with the right button.", "target", target=_TARGET, modifiers=_KEYS),
    "middle_click": _in_tab("Clicks with the middle button.", "target", target=_TARGET, modifiers=_KEYS),
    "double_click": _in_tab("Clicks twice.", "target", target=_TARGET, modifiers=_KEYS),
    "triple_click": _in_tab("Clicks three times.", "target", target=_TARGET, modifiers=_KEYS),
    "hover": _in_tab("Moves the mouse over a place.", "target", target=_TARGET),
    "left_click_drag": _in_tab("Drags from one place to another.", "from target", **{"from": _PLACE}, target=_PLACE),
    "left_mouse_down": _in_tab("Presses the left button and keeps it down.", "target", target=_PLACE),
    "left_mouse_up": _in_tab("Releases the left button.", "target", target=_PLACE),
    "mouse_move": _in_tab("Moves the mouse.", "target", target=_PLACE),
    "scroll": _in_tab(
        "Scrolls.", "scroll_direction target", scroll_direction=_DIRECTION, target=_PLACE, scroll_amount=_AMOUNT
    ),
    "type": _in_tab("Types text.", "text", text=_TEXT),
    "key": _in_tab("Presses a key or a combination.", "text", text=_TEXT, repeat=_AMOUNT),
    "hold_key": _in_tab("Holds a key down for a while.", "text duration", text=_TEXT, duration=_SECONDS),
    "wait": _in_tab("Waits.", "duration", duration=_SECONDS),
    "javascript_exec": _in_tab("Runs JavaScript in the page and gives its result.", "text", text=_TEXT),
}
