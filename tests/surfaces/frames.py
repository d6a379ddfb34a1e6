"""The frames of a stream of named events."""

from __future__ import annotations

import json
from typing import Any


def frames(raw: bytes, *, comments: bool = False) -> list[dict[str, Any]]:
    """The events of a stream; every frame has a name and one line of JSON whose type is that name. Frames that are
    `comments` are passed over where they are allowed."""
    text = raw.decode("utf-8")
    assert text == "" or text.endswith("\n\n")
    events = []
    for frame in text.split("\n\n")[:-1]:
        if comments and frame.startswith(": "):
            continue
        name, data = frame.split("\n")
        assert name.startswith("event: ")
        assert data.startswith("data: ")
        event = json.loads(data[6:])
        assert event["type"] == name[7:]
        events.append(event)
    return events
