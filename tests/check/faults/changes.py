"""Ways to change what goes into the reference server and what comes out of it: what faults are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ..reference import Answer, Change, Fault, Request, State
from ..rules import Refused

Message = dict[str, Any]
Events = list[tuple[str, Any]]


def fault(name: str, *found_by: str, before: Change | None = None, after: Change | None = None) -> Fault:
    """A fault, and the checks that must find it."""
    return Fault(name, frozenset(found_by), before, after)


def is_message(request: Request) -> bool:
    """Whether it asks for a message, with a body that is one."""
    return request.path == "/v1/messages" and request.method == "POST" and isinstance(request.body, dict)


def blocks(request: Request) -> list[Message]:
    """All blocks of a request's turns."""
    turns = (request.body.get("messages") if isinstance(request.body, dict) else None) or []
    lists = [turn["content"] for turn in turns if isinstance(turn, dict) and isinstance(turn.get("content"), list)]
    return [block for each in lists for block in each if isinstance(block, dict)]


def has(kind: str) -> Callable[[Request], bool]:
    """Whether a request has a block of this type."""
    return lambda request: any(block.get("type") == kind for block in blocks(request))


def refusing(when: Callable[[Request], Any]) -> Change:
    """Refuses requests of a kind."""

    def before(request: Request, given: Answer, state: State) -> None:
        if isinstance(request.body, dict) and when(request):
            raise Refused(400, "this server does not know that")

    return before


def hiding(suffix: str) -> Change:
    """Has no route whose path and query end so."""

    def before(request: Request, given: Answer, state: State) -> None:
        if f"{request.path}?{request.query}".rstrip("?").endswith(suffix):
            request.path = "/nowhere"

    return before


def accepting(reason: str) -> Change:
    """Answers with an everyday message where it should refuse for this reason."""

    def after(request: Request, given: Answer, state: State) -> None:
        if given.status in (400, 401, 404) and reason in json.dumps(given.value):
            said = [{"type": "text", "text": "Hello."}]
            usage = {"input_tokens": 5, "output_tokens": 2}
            given.status, given.value = 200, {"content": said, "usage": usage, "input_tokens": 5, "id": "msg_1"}

    return after


def in_messages(change: Callable[[Message], Any], when: Callable[[Request], Any] = lambda request: True) -> Change:
    """Changes whole replies to requests of a kind."""

    def after(request: Request, given: Answer, state: State) -> None:
        if is_message(request) and isinstance(given.value, dict) and "content" in given.value and when(request):
            change(given.value)

    return after


def in_blocks(kind: str, change: Callable[[Message], Any]) -> Change:
    """Changes the blocks of a type in whole replies."""

    def change_all(message: Message) -> None:
        for block in message["content"]:
            if block["type"] == kind:
                change(block)

    return in_messages(change_all)


def in_events(change: Callable[[Events], Events]) -> Change:
    """Changes the events of streams."""

    def after(request: Request, given: Answer, state: State) -> None:
        if given.events is not None:
            given.events = change(given.events)

    return after


def in_each(name: str, change: Callable[[Message], Any]) -> Change:
    """Changes the data of every event of this name."""

    def change_all(events: Events) -> Events:
        for each, value in events:
            if each == name:
                change(value)
        return events

    return in_events(change_all)


def on(path: str, change: Callable[[Any], Any], method: str = "GET") -> Change:
    """Changes what a path gives."""

    def after(request: Request, given: Answer, state: State) -> None:
        asked = request.path.startswith(path) and request.method == method
        if asked and given.status == 200 and isinstance(given.value, dict):
            change(given.value)

    return after


def saying(**fields: Any) -> Callable[[Message], None]:
    """Sets these fields."""
    return lambda value: value.update(fields)


def without(*names: str) -> Callable[[Message], None]:
    """Takes these fields out."""

    def change(value: Message) -> None:
        for name in names:
            value.pop(name, None)

    return change


def calls(message: Message) -> Iterator[Message]:
    """The tool calls of a message."""
    return (block for block in message["content"] if block["type"] == "tool_use")
